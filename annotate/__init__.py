"""What we know about a post, and how people judge it; also the site: settings, urls, the embedded database."""
