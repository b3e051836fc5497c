"""Asks a web server of ours whether it is well, from beside it: python -m annotate.operating.knock ADDRESS

Without Django, because a container is asked every few seconds. It says what a proxy would: the site's own host, and
that the visitor came by https; or the answer would be about those, and not about the site.
"""

import http.client
import os
import sys
from urllib.parse import urlsplit

PATIENCE = 4  # seconds


def problem_at(address: str, site: str) -> str:
    """A sentence, or nothing where all is well."""
    asked, known_as = urlsplit(address), urlsplit(site)
    headers = {"Host": known_as.netloc or asked.netloc, "X-Forwarded-Proto": known_as.scheme or "http"}
    connection = http.client.HTTPConnection(asked.netloc, timeout=PATIENCE)
    try:
        connection.request("GET", asked.path or "/", headers=headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{address} does not answer: {error or type(error).__name__}."
    finally:
        connection.close()
    return "" if answer.status == 200 else f"{address} answers {answer.status}."


if __name__ == "__main__":
    sys.exit(problem_at(sys.argv[1], os.environ.get("SITE_URL", "")) or 0)
