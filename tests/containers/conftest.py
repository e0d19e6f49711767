from residents import anyone, ordinary, root, template

__all__ = ["anyone", "ordinary", "root", "template"]
