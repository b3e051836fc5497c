from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from modeling.api.answers import router as answers_api
from modeling.api.cascades import router as cascades_api
from modeling.api.datasets import router as datasets_api
from modeling.api.evaluations import router as evaluations_api
from modeling.api.prelabellings import router as prelabellings_api
from modeling.api.rounds import router as rounds_api
from modeling.api.runs import router as runs_api
from modeling.api.servings import router as servings_api
from modeling.api.studies import router as studies_api
from modeling.views import completions

from .api import api, mounted
from .operating import health
from .views import (
    agreement,
    events,
    imports,
    label_studio,
    media,
    people,
    posts,
    projects,
    quality,
    review,
    review_steps,
    reviewers,
    storage,
    webhooks,
)

api.add_router("", datasets_api)
api.add_router("", runs_api)
api.add_router("", studies_api)
api.add_router("", evaluations_api)
api.add_router("", prelabellings_api)
api.add_router("", rounds_api)
api.add_router("", cascades_api)
api.add_router("", answers_api)
api.add_router("", servings_api)

handler500 = "annotate.away.answer"

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("", projects.home, name="home"),
    path("projects/new", projects.new, name="project_new"),
    # People
    path("login", people.login, name="login"),
    path("logout", people.logout, name="logout"),
    path("login/<str:uid>/<str:token>", people.login_once, name="login_once"),
    path("account", people.account, name="account"),
    path("account/password", people.password, name="password"),
    path("account/keys", people.review_keys, name="review_keys"),
    path("account/tokens", people.token_new, name="token_new"),
    path("account/tokens/<int:pk>/revoke", people.token_revoke, name="token_revoke"),
    path("invited/<str:secret>", people.invited, name="invited"),
    path("p/<slug:slug>/people", people.people, name="people"),
    path("p/<slug:slug>/people/invite", people.invite, name="invite"),
    path("p/<slug:slug>/people/invitations/<int:pk>/revoke", people.invitation_revoke, name="invitation_revoke"),
    path("p/<slug:slug>/people/<int:pk>/role", people.role_change, name="role_change"),
    path("p/<slug:slug>/people/<int:pk>/remove", people.member_remove, name="member_remove"),
    # A project
    path("p/<slug:slug>/", projects.project, name="project"),
    path("p/<slug:slug>/settings", projects.edit, name="settings"),
    path("p/<slug:slug>/guidelines", projects.guidelines, name="guidelines"),
    path("p/<slug:slug>/labels.css", projects.label_colours, name="label_colours"),
    # Posts
    path("p/<slug:slug>/posts", posts.posts, name="posts"),
    path("p/<slug:slug>/posts/<int:pk>", posts.post, name="post"),
    path("p/<slug:slug>/posts/<int:pk>/remove", posts.post_remove, name="post_remove"),
    path("p/<slug:slug>/removals", posts.removals, name="removals"),
    path("p/<slug:slug>/templates", posts.templates, name="templates"),
    path("p/<slug:slug>/templates/<int:pk>", posts.template_name, name="template_name"),
    path("p/<slug:slug>/agreement", agreement.agreement, name="agreement"),
    path("p/<slug:slug>/images/<str:name>", media.image, name="image"),
    path("p/<slug:slug>/thumbs/<str:name>", media.thumb, name="thumb"),
    # Review
    path("p/<slug:slug>/review", review.review, name="review"),
    path("p/<slug:slug>/review/decide", review_steps.decide, name="review_decide"),
    path("p/<slug:slug>/review/undo", review_steps.undo, name="review_undo"),
    path("p/<slug:slug>/review/votes", review_steps.votes, name="review_votes"),
    path("p/<slug:slug>/review/renew", review_steps.renew, name="review_renew"),
    path("p/<slug:slug>/review/release", review_steps.release, name="review_release"),
    path("p/<slug:slug>/review/fill", review_steps.fill, name="review_fill"),
    # Quality
    path("p/<slug:slug>/quality", quality.quality, name="quality"),
    path("p/<slug:slug>/quality/headline", quality.headline, name="quality_headline"),
    path("p/<slug:slug>/quality/decided", quality.listed, name="quality_decided"),
    path("p/<slug:slug>/quality/machines", quality.machines, name="quality_machines"),
    path("p/<slug:slug>/quality/riskiest", quality.riskiest, name="quality_riskiest"),
    path("p/<slug:slug>/quality/riskiest/<int:pk>", quality.show, name="quality_targeting"),
    path("p/<slug:slug>/quality/riskiest/<int:pk>/ask", quality.put_to_people, name="quality_ask"),
    path("p/<slug:slug>/quality/riskiest/<int:pk>/discard", quality.discard, name="quality_discard"),
    path("p/<slug:slug>/reviewers", reviewers.reviewers, name="reviewers"),
    path("p/<slug:slug>/reviewers/me", reviewers.myself, name="reviewer_me"),
    path("p/<slug:slug>/reviewers/<int:pk>", reviewers.reviewer, name="reviewer"),
    # Imports
    path("p/<slug:slug>/imports", imports.imports, name="imports"),
    path("p/<slug:slug>/imports/new", imports.upload, name="import_new"),
    path("p/<slug:slug>/imports/<int:pk>", imports.show, name="import"),
    path("p/<slug:slug>/imports/<int:pk>/start", imports.start, name="import_start"),
    path("p/<slug:slug>/imports/<int:pk>/progress", imports.progress, name="import_progress"),
    path("p/<slug:slug>/imports/<int:pk>/stop", imports.stop, name="import_stop"),
    path("p/<slug:slug>/imports/<int:pk>/report.csv", imports.report, name="import_report"),
    # What happened
    path("p/<slug:slug>/events", events.listed, name="events"),
    path("p/<slug:slug>/events.<slug:ending>", events.export, name="events_export"),
    path("site/storage", storage.storage, name="storage"),
    path("site/events", events.of_site, name="site_events"),
    path("site/events.<slug:ending>", events.export_site, name="site_events_export"),
    path("p/<slug:slug>/webhooks", webhooks.listed, name="webhooks"),
    path("p/<slug:slug>/webhooks/<int:pk>", webhooks.webhook, name="webhook"),
    path("p/<slug:slug>/webhooks/<int:pk>/deliveries", webhooks.deliveries, name="webhook_deliveries"),
    path("p/<slug:slug>/webhooks/<int:pk>/deliveries/<int:delivery>/again", webhooks.again, name="webhook_again"),
    path("p/<slug:slug>/webhooks/<int:pk>/test", webhooks.test, name="webhook_test"),
    path("p/<slug:slug>/webhooks/<int:pk>/pause", webhooks.pause, name="webhook_pause"),
    path("p/<slug:slug>/webhooks/<int:pk>/turn-on", webhooks.turn_on, name="webhook_turn_on"),
    path("p/<slug:slug>/webhooks/<int:pk>/secret", webhooks.new_secret, name="webhook_secret"),
    path("p/<slug:slug>/webhooks/<int:pk>/delete", webhooks.delete, name="webhook_delete"),
    # Label Studio
    path("p/<slug:slug>/label-studio", label_studio.label_studio, name="label_studio"),
    path("p/<slug:slug>/label-studio/push", label_studio.push, name="label_studio_push"),
    path("p/<slug:slug>/label-studio/pull", label_studio.pull, name="label_studio_pull"),
    path("p/<slug:slug>/label-studio/people", label_studio.people, name="label_studio_people"),
    path("p/<slug:slug>/label-studio/anew", label_studio.anew, name="label_studio_anew"),
    path("p/<slug:slug>/label-studio/runs/<int:pk>", label_studio.progress, name="label_studio_progress"),
    path("p/<slug:slug>/label-studio/runs/<int:pk>/stop", label_studio.stop, name="label_studio_stop"),
    path("", include("labeling.urls")),
    path("", include("modeling.urls")),
    path("api/", mounted()),
    path("v1/chat/completions", completions.completions, name="completions"),
    path("v1/models", completions.models, name="models"),
    path("v1/models/<path:name>", completions.model, name="model"),
    path("admin/", admin.site.urls),
]

if settings.OIDC_ISSUER:
    from .views import single_sign_on

    urlpatterns += [
        path("sso", single_sign_on.there, name="sign_on"),
        path("sso/back", single_sign_on.back, name="sign_on_back"),
    ]
