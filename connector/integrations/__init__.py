"""ksparse in the words of other frameworks, a module each; none is imported unless it is asked for."""
