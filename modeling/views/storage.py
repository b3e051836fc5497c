"""What takes how much room on this machine, what the rules would remove, and the button that removes it."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import filesizeformat
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from annotate.access import me, site_admin
from annotate.operating.pruning import prune
from modeling import pruning

SHOWN = 5


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@site_admin
def storage(request: HttpRequest) -> HttpResponse:
    found = pruning.look()
    if request.method == "POST":
        asked = set(request.POST.getlist("rule"))
        things, freed = prune([each for each in found if each.rule.key in asked], me(request))
        if things:
            messages.success(request, f"Removed: {things:,} of what was listed, {filesizeformat(freed)}.")
        else:
            messages.info(request, "Nothing was removed: choose a rule that has found something.")
        return redirect("storage")
    context = {
        "taken": pruning.taken(), "found": found, "disks": pruning.disks(), "least": settings.LEAST_FREE_MB,
        "quota": settings.MEDIA_QUOTA_MB, "daily": settings.PRUNE, "shown": f":{SHOWN}", "most": SHOWN,
        "going": any(each.going for each in found),
    }  # fmt: skip
    return render(request, "modeling/storage.html", context)
