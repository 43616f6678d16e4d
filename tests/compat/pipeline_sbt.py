"""FATE's own pipeline SDK against a site: upload, or fit, summary, output, deploy, predict, dump and load.

usage: pipeline_sbt.py upload FILE TABLE | pipeline_sbt.py fit FOLDER; fit prints TAP. `pipeline init` was run before."""
import sys

from pipeline.backend.pipeline import PipeLine
from pipeline.component import DataTransform, Evaluation, HeteroSecureBoost, Intersection, Reader
from pipeline.interface import Data, Model

GUEST, HOST, NS = 9999, 10000, "experiment"
count = failed = 0


def check(what, ok):
    global count, failed
    count += 1
    failed += not ok
    print(f"{'ok' if ok else 'not ok'} {count} - {what}", flush=True)


def upload(file, name):
    p = PipeLine().set_initiator(role="guest", party_id=GUEST).set_roles(guest=GUEST)
    p.add_upload_data(file=file, table_name=name, namespace=NS, head=1, partition=4)
    p.upload(drop=1)


if sys.argv[1] == "upload":  # to the site that `pipeline init` named
    upload(sys.argv[2], sys.argv[3])
    sys.exit(0)

pipeline = PipeLine().set_initiator(role="guest", party_id=GUEST).set_roles(guest=GUEST, host=HOST)
reader_0 = Reader(name="reader_0")
reader_0.get_party_instance(role="guest", party_id=GUEST).component_param(table={"name": "mini_guest", "namespace": NS})
reader_0.get_party_instance(role="host", party_id=HOST).component_param(table={"name": "mini_host", "namespace": NS})
transform_0 = DataTransform(name="data_transform_0")
transform_0.get_party_instance(role="guest", party_id=GUEST).component_param(with_label=True, output_format="dense")
transform_0.get_party_instance(role="host", party_id=HOST).component_param(with_label=False)
intersection_0 = Intersection(name="intersection_0")
boost_0 = HeteroSecureBoost(name="hetero_secure_boost_0", num_trees=2, task_type="classification",
                            objective_param={"objective": "cross_entropy"}, encrypt_param={"method": "Paillier"},
                            tree_param={"max_depth": 2})
evaluation_0 = Evaluation(name="evaluation_0", eval_type="binary")
pipeline.add_component(reader_0)
pipeline.add_component(transform_0, data=Data(data=reader_0.output.data))
pipeline.add_component(intersection_0, data=Data(data=transform_0.output.data))
pipeline.add_component(boost_0, data=Data(train_data=intersection_0.output.data))
pipeline.add_component(evaluation_0, data=Data(data=boost_0.output.data))
pipeline.compile()
pipeline.fit()
check("fit ends with success", True)

summary = pipeline.get_component("hetero_secure_boost_0").get_summary()
check(f"the summary has FATE's losses: {summary['loss_history']}",
      all(abs(a - b) < 1e-9 for a, b in zip(summary["loss_history"], [0.49485153970895274, 0.3778917532110874])))
auc = pipeline.get_component("evaluation_0").get_summary()["hetero_secure_boost_0"]["train"]["auc"]
check(f"FATE's AUC: {auc}", abs(auc - 0.9749088314571113) < 1e-9)
out = pipeline.get_component("hetero_secure_boost_0").get_output_data()
check(f"output data of 569 rows and FATE's columns: {list(out.columns)}",
      len(out) == 569 and list(out.columns) == ["id", "label", "predict_result", "predict_score", "predict_detail", "type"])
check("predict_detail is a map", set(out["predict_detail"][0]) == {"0", "1"})
model = pipeline.get_component("hetero_secure_boost_0").get_model_param()
check("the model's parameters", model["treeNum"] == 2 and len(model["trees"]) == 2)
table = pipeline.get_component("hetero_secure_boost_0").get_output_data_table()
check(f"the output table's name: {table}", set(table) == {"table_name", "table_namespace"})

pipeline.deploy_component([transform_0, intersection_0, boost_0])
check("deploy", True)
predict = PipeLine()
reader_1 = Reader(name="reader_0")
reader_1.get_party_instance(role="guest", party_id=GUEST).component_param(table={"name": "mini_guest", "namespace": NS})
reader_1.get_party_instance(role="host", party_id=HOST).component_param(table={"name": "mini_host", "namespace": NS})
predict.add_component(reader_1)
predict.add_component(pipeline, data=Data(predict_input={pipeline.data_transform_0.input.data: reader_1.output.data}))
predict.predict()
scores = predict.get_component("hetero_secure_boost_0").get_output_data()
check("predict gives the training's scores for the same rows",
      len(scores) == 569 and all(abs(float(a) - float(b)) < 1e-12 for a, b in
                                 zip(scores["predict_score"], out["predict_score"])))
pipeline.dump(f"{sys.argv[2]}/pipeline.pkl")
again = PipeLine.load_model_from_file(f"{sys.argv[2]}/pipeline.pkl")
check("dump and load", again.get_component("hetero_secure_boost_0").get_summary()["loss_history"] == summary["loss_history"])
print(f"1..{count}")
sys.exit(failed > 0)
