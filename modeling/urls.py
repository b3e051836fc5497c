from django.urls import path, register_converter

from .views import (
    bundles,
    cascades,
    datasets,
    doubts,
    evaluation_posts,
    evaluations,
    freezing,
    playground,
    prelabellings,
    runs,
    serving,
    studies,
    training,
)


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
    path("p/<slug:slug>/datasets/<dataset:name>/doubts", doubts.listed, name="dataset_doubts"),
    path("p/<slug:slug>/datasets/<dataset:name>/doubts/send", doubts.send, name="dataset_doubts_send"),
    path("p/<slug:slug>/datasets/<dataset:name>/doubts/stop", doubts.stop, name="dataset_doubts_stop"),
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
    path("p/<slug:slug>/runs/<int:pk>/serving", serving.serving, name="serving"),
    path("p/<slug:slug>/runs/<int:pk>/serving/progress", serving.progress, name="serving_progress"),
    path("p/<slug:slug>/servings/<int:pk>/stop", serving.stop, name="serving_stop"),
    path("p/<slug:slug>/servings/<int:pk>/resume", serving.resume, name="serving_resume"),
    path("p/<slug:slug>/servings/<int:pk>/delete", serving.delete, name="serving_delete"),
    path("p/<slug:slug>/servings/<int:pk>/check", serving.check, name="serving_check"),
    path("p/<slug:slug>/checks/<int:pk>/stop", serving.check_stop, name="served_check_stop"),
    path("p/<slug:slug>/checks/<int:pk>/resume", serving.check_resume, name="served_check_resume"),
    path("p/<slug:slug>/studies", studies.listed, name="studies"),
    path("p/<slug:slug>/studies/new", studies.new, name="study_new"),
    path("p/<slug:slug>/studies/preview", studies.preview, name="study_preview"),
    path("p/<slug:slug>/studies/<int:pk>", studies.study, name="study"),
    path("p/<slug:slug>/studies/<int:pk>/progress", studies.progress, name="study_progress"),
    path("p/<slug:slug>/studies/<int:pk>/stop", studies.stop, name="study_stop"),
    path("p/<slug:slug>/studies/<int:pk>/resume", studies.resume, name="study_resume"),
    path("p/<slug:slug>/studies/<int:pk>/doubts", studies.doubts, name="study_doubts"),
    path("p/<slug:slug>/playground", playground.playground, name="playground"),
    path("p/<slug:slug>/playground/<uuid:batch>", playground.question, name="playground_question"),
    path("p/<slug:slug>/cascades", cascades.listed, name="cascades"),
    path("p/<slug:slug>/cascades/new", cascades.new, name="cascade_new"),
    path("p/<slug:slug>/cascades/<int:pk>", cascades.cascade, name="cascade"),
    path("p/<slug:slug>/cascades/<int:pk>/progress", cascades.progress, name="cascade_progress"),
    path("p/<slug:slug>/cascades/<int:pk>/use", cascades.use, name="cascade_use"),
    path("p/<slug:slug>/cascades/<int:pk>/again", cascades.again, name="cascade_again"),
    path("p/<slug:slug>/cascades/<int:pk>/ask", cascades.ask, name="cascade_ask"),
    path("p/<slug:slug>/evaluations", evaluations.evaluations, name="evaluations"),
    path("p/<slug:slug>/evaluations.<slug:format>", evaluations.board_export, name="evaluations_export"),
    path("p/<slug:slug>/evaluations/new", evaluations.new, name="evaluation_new"),
    path("p/<slug:slug>/evaluations/compare", evaluation_posts.compare, name="evaluation_compare"),
    path("p/<slug:slug>/evaluations/<int:pk>", evaluations.evaluation, name="evaluation"),
    path("p/<slug:slug>/evaluations/<int:pk>.<slug:format>", evaluation_posts.export, name="evaluation_export"),
    path("p/<slug:slug>/evaluations/<int:pk>/progress", evaluations.progress, name="evaluation_progress"),
    path("p/<slug:slug>/evaluations/<int:pk>/stop", evaluations.stop, name="evaluation_stop"),
    path("p/<slug:slug>/evaluations/<int:pk>/resume", evaluations.resume, name="evaluation_resume"),
    path("p/<slug:slug>/evaluations/<int:pk>/ways", evaluations.three_ways, name="evaluation_ways"),
    path("p/<slug:slug>/evaluations/<int:pk>/posts", evaluation_posts.posts, name="evaluation_posts"),
    path("p/<slug:slug>/evaluations/<int:pk>/posts/<int:item>/doubt", evaluation_posts.doubt, name="evaluation_doubt"),
    path("p/<slug:slug>/prelabellings", prelabellings.prelabellings, name="prelabellings"),
    path("p/<slug:slug>/prelabellings/new", prelabellings.new, name="prelabelling_new"),
    path("p/<slug:slug>/prelabellings/preview", prelabellings.preview, name="prelabelling_preview"),
    path("p/<slug:slug>/prelabellings/<int:pk>", prelabellings.prelabelling, name="prelabelling"),
    path("p/<slug:slug>/prelabellings/<int:pk>/progress", prelabellings.progress, name="prelabelling_progress"),
    path("p/<slug:slug>/prelabellings/<int:pk>/apply", prelabellings.apply, name="prelabelling_apply"),
    path("p/<slug:slug>/prelabellings/<int:pk>/take-back", prelabellings.take_back, name="prelabelling_take_back"),
    path("p/<slug:slug>/prelabellings/<int:pk>/stop", prelabellings.stop, name="prelabelling_stop"),
    path("p/<slug:slug>/prelabellings/<int:pk>/resume", prelabellings.resume, name="prelabelling_resume"),
    path("p/<slug:slug>/prelabellings/<int:pk>/conflicts", prelabellings.conflicts, name="prelabelling_conflicts"),
    path("p/<slug:slug>/prelabellings/<int:pk>/doubt", prelabellings.doubt, name="prelabelling_doubt"),
]
