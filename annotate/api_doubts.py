"""Programs that doubt labels: the same function as the pages."""

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Field, Router, Schema

from . import doubting
from .access import me, project_for
from .models import Role

router = Router(tags=["Review"])
MOST = 10_000


class DoubtIn(Schema):
    id: Annotated[str, Field(max_length=200, description="The post's external id.", examples=["post-17"])]
    chance: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, description="That its label is wrong.")]


class DoubtsIn(Schema):
    posts: Annotated[list[DoubtIn], Field(min_length=1, max_length=MOST)]


class DoubtsOut(Schema):
    opened: int = Field(description="So many wait for people now.")
    left_out: int = Field(description="They have no settled label, wait already or are on somebody's screen.")
    unknown: list[str] = Field(description="No post of this project has these ids.")


@router.post("/projects/{slug}/doubts", response=DoubtsOut, url_name="doubts", summary="Send labels back to people")
def doubts(request: HttpRequest, slug: str, doubted: DoubtsIn) -> dict[str, Any]:
    """They are looked at again, the likeliest to be wrong first. Reviewers are not told that they are doubted."""
    project, _ = project_for(me(request), slug, Role.LEAD)
    chances = {one.id: one.chance for one in doubted.posts}
    known = dict(project.posts.filter(external_id__in=chances).values_list("external_id", "pk"))
    opened = doubting.doubt(project, me(request), {pk: chances[external_id] for external_id, pk in known.items()})
    unknown = [external_id for external_id in chances if external_id not in known]
    return {"opened": opened, "left_out": len(known) - opened, "unknown": unknown}
