"""Pictures, for the project's members only. Named by their content, so a browser never has to ask twice."""

import logging
import re

from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.http import require_safe

from annotate import images
from annotate.access import requires
from annotate.models import Image, Post, Project, Role

NAME = re.compile(r"(?P<sha256>[0-9a-f]{64})\.(?P<format>[a-z]{3,5})")


@require_safe
@requires(Role.REVIEWER)
def image(request: HttpRequest, project: Project, name: str) -> HttpResponseBase:
    found = image_in(project, name)
    return immutable(images.path_of(found.sha256, found.format), f"image/{found.format}")


@require_safe
@requires(Role.REVIEWER)
def thumb(request: HttpRequest, project: Project, name: str) -> HttpResponseBase:
    return immutable(images.thumb_path_of(image_in(project, name).sha256), "image/webp")


def image_in(project: Project, name: str) -> Image:
    """The same picture may be in many projects; being in this one is what gives the right to see it."""
    match = NAME.fullmatch(name)
    found = Image.objects.filter(sha256=match["sha256"]).first() if match else None
    if not found or not Post.objects.filter(project=project, image=found).exists():
        raise Http404
    return found


def immutable(path: str, content_type: str) -> HttpResponseBase:
    try:
        response = FileResponse(default_storage.open(path), content_type=content_type)
    except FileNotFoundError as error:
        raise Http404 from error
    except OSError as error:  # a bucket that cannot be reached: the page stands, and its pictures come later
        logging.getLogger(__name__).warning("A picture cannot be shown: %s", error)
        return HttpResponse("The picture cannot be read at the moment.", "text/plain; charset=utf-8", status=503)
    response["Cache-Control"] = "private, max-age=31536000, immutable"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response
