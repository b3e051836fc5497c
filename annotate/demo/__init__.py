from .posts import DemoPost, draw_posts

__all__ = ["DemoPost", "draw_posts"]
