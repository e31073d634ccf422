"""What a search team meets beyond merged indices at rest: segments as they come, filters, writes, today's rivals,
little memory, text in, several nodes; and a clock that is not ours.
"""
