from django.urls import path, register_converter

from .views import bundles, datasets, freezing, runs, training


class DatasetName:
    """As `models.NAME` has it."""

    regex = "[A-Za-z0-9][A-Za-z0-9._-]*"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(DatasetName, "dataset")

urlpatterns = [
    path("p/<slug:slug>/datasets", datasets.datasets, name="datasets"),
    path("p/<slug:slug>/datasets/new", freezing.new, name="dataset_new"),
    path("p/<slug:slug>/datasets/preview", freezing.preview, name="dataset_preview"),
    path("p/<slug:slug>/datasets/<dataset:name>", datasets.dataset, name="dataset"),
    path("p/<slug:slug>/datasets/<dataset:name>/progress", freezing.progress, name="dataset_progress"),
    path("p/<slug:slug>/datasets/<dataset:name>/stop", freezing.stop, name="dataset_stop"),
    path("p/<slug:slug>/datasets/<dataset:name>/again", freezing.again, name="dataset_again"),
    path("p/<slug:slug>/datasets/<dataset:name>/posts", datasets.posts, name="dataset_posts"),
    path("p/<slug:slug>/datasets/<dataset:name>/compare", datasets.compare, name="dataset_compare"),
    path("p/<slug:slug>/datasets/<dataset:name>/card", datasets.card, name="dataset_card"),
    path("p/<slug:slug>/datasets/<dataset:name>/download", datasets.download, name="dataset_download"),
    path("p/<slug:slug>/runs", runs.runs, name="runs"),
    path("p/<slug:slug>/runs/new", training.new, name="run_new"),
    path("p/<slug:slug>/runs/preview", training.preview, name="run_preview"),
    path("p/<slug:slug>/runs/compare", runs.compare, name="run_compare"),
    path("p/<slug:slug>/runs/<int:pk>", runs.run, name="run"),
    path("p/<slug:slug>/runs/<int:pk>/progress", runs.progress, name="run_progress"),
    path("p/<slug:slug>/runs/<int:pk>/points", runs.points, name="run_points"),
    path("p/<slug:slug>/runs/<int:pk>/machine", runs.on_machine, name="run_machine"),
    path("p/<slug:slug>/runs/<int:pk>/stop", runs.stop, name="run_stop"),
    path("p/<slug:slug>/runs/<int:pk>/resume", runs.resume, name="run_resume"),
    path("p/<slug:slug>/runs/<int:pk>/bundle.zip", bundles.bundle, name="run_bundle"),
    path("p/<slug:slug>/runs/<int:pk>/result", bundles.result, name="run_result"),
    path("p/<slug:slug>/runs/<int:pk>/receipt.json", runs.receipt, name="run_receipt"),
    path("p/<slug:slug>/runs/<int:pk>/modules", runs.modules, name="run_modules"),
]
