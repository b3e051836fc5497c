from django.urls import path

from . import views

urlpatterns = [
    path("p/<slug:slug>/votes", views.votes, name="votes"),
    path("p/<slug:slug>/voters/new", views.voter_new, name="voter_new"),
    path("p/<slug:slug>/voters/<int:pk>", views.voter, name="voter"),
    path("p/<slug:slug>/voters/<int:pk>/edit", views.voter_edit, name="voter_edit"),
    path("p/<slug:slug>/voters/<int:pk>/return", views.voter_return, name="voter_return"),
    path("p/<slug:slug>/voters/<int:pk>/request", views.voter_request, name="voter_request"),
    path("p/<slug:slug>/votes/new", views.start, name="voting_new"),
    path("p/<slug:slug>/votes/<int:pk>", views.run, name="voting_run"),
    path("p/<slug:slug>/votes/<int:pk>/progress", views.progress, name="voting_progress"),
    path("p/<slug:slug>/votes/<int:pk>/pause", views.pause, name="voting_pause"),
    path("p/<slug:slug>/votes/<int:pk>/resume", views.resume, name="voting_resume"),
    path("p/<slug:slug>/votes/<int:pk>/cancel", views.cancel, name="voting_cancel"),
    path("p/<slug:slug>/votes/<int:pk>/retry", views.retry, name="voting_retry"),
]
