"""How many posts wait for the reader, on every page of a project."""

from django import template

from annotate.models import Project, Role
from annotate.queue import waiting_for

register = template.Library()


@register.simple_tag
def to_review(project: Project, role: Role | None) -> int:
    return waiting_for(project, role) if role else 0
