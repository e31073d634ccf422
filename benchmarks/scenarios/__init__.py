"""What a search team meets beyond merged indices at rest: segments as they come, filters, writes, today's rivals."""
