"""The ONNX operators Attention and FlexAttention on the Python module, for the conformance tests.

Attention: every input, output and attribute has its counterpart in bareattn.attention() and bareattn.weights(); the
cache inputs are joined here because the operator returns them. softmax_precision is met by float32 (float64: by the
reference), never by less. FlexAttention: a score function is a graph, so its scores are computed by
bareattn.weights(stage="product"), the graph is evaluated on them by onnx's evaluator, and softmax and blend are
bareattn.attention() with the result as the additive term and scale 0; float64 runs on reference_attention().
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

import bareattn

STAGE_OF_MODE = {0: "product", 1: "capped", 2: "biased", 3: "weight"}


def attributes_of(node: onnx.NodeProto) -> dict:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def inputs_of(model: onnx.ModelProto, values: list) -> list:
    """The node's inputs in order, None where one is left out."""
    node = model.graph.node[0]
    named = dict(zip([i.name for i in model.graph.input], values, strict=True))
    return [named[name] if name else None for name in node.input]


def run_model(model: onnx.ModelProto, values: list) -> list:
    """Outputs of a one-node test model, in the order of the graph's outputs."""
    (node,) = model.graph.node
    run = {"Attention": run_attention, "FlexAttention": run_flex_attention}[node.op_type]
    outputs = run(model, node, inputs_of(model, values))
    named = dict(zip(node.output, outputs))
    return [named[o.name] for o in model.graph.output]


def run_attention(model: onnx.ModelProto, node: onnx.NodeProto, inputs: list) -> list:
    given = attributes_of(node)
    known = {"is_causal", "scale", "softcap", "q_num_heads", "kv_num_heads", "qk_matmul_output_mode", "softmax_precision",
             "left_window_size", "right_window_size"}
    assert set(given) <= known, f"attributes that are not understood: {set(given) - known}"
    q, k, v, mask, past_key, past_value, lengths = (inputs + [None] * 7)[:7]
    layout, heads = "bhsd", {}
    if q.ndim == 3:
        layout = "packed"
        heads = {"num_heads": given["q_num_heads"], "num_kv_heads": given["kv_num_heads"]}
        split = lambda x: x.reshape(x.shape[0], x.shape[1], given["kv_num_heads"], -1).transpose(0, 2, 1, 3)  # noqa: E731
        present_key, present_value = split(k), split(v)
    else:
        present_key, present_value = k, v
    options = {
        "is_causal": bool(given.get("is_causal", 0)),
        "scale": given.get("scale"),
        "softcap": given.get("softcap", 0.0),
        "left_window": given.get("left_window_size", -1),
        "right_window": given.get("right_window_size", -1),
        "attn_mask": mask,
    }
    if past_key is not None:
        options["offset"] = past_key.shape[2]
        present_key = np.concatenate((past_key, present_key), axis=2)
        present_value = np.concatenate((past_value, present_value), axis=2)
    if lengths is not None:
        options["kv_lengths"] = lengths
        options["causal_align"] = "bottom_right"
    if layout == "packed":  # the joined cache is 4-D: q is seen as such too
        q4 = q.reshape(q.shape[0], q.shape[1], heads["num_heads"], -1).transpose(0, 2, 1, 3)
        if past_key is None:
            y = bareattn.attention(q, k, v, layout="packed", **heads, **options)
        else:
            y = bareattn.attention(q4, present_key, present_value, **options)
            y = y.transpose(0, 2, 1, 3).reshape(q.shape[0], q.shape[1], -1)
    else:
        q4 = q
        y = bareattn.attention(q, present_key, present_value, **options)
    outputs = [y, present_key, present_value]
    if len(node.output) > 3 and node.output[3]:
        stage = STAGE_OF_MODE[given.get("qk_matmul_output_mode", 0)]
        outputs.append(bareattn.weights(q4, present_key, stage=stage, **options).astype(q.dtype))
    return outputs


def evaluate(model: onnx.ModelProto, graph: onnx.GraphProto, value: np.ndarray) -> np.ndarray:
    """A score function's graph on one value."""
    inner = onnx.helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    return ReferenceEvaluator(inner).run(None, {graph.input[0].name: value})[0]


def run_flex_attention(model: onnx.ModelProto, node: onnx.NodeProto, inputs: list) -> list:
    given = attributes_of(node)
    assert set(given) <= {"scale", "score_mod", "prob_mod", "softmax_precision"}, given
    q, k, v = inputs[:3]
    run = bareattn.reference_attention if q.dtype == np.float64 else bareattn.attention
    options = {"scale": given.get("scale")}
    if "score_mod" not in given and "prob_mod" not in given:
        return [run(q, k, v, **options)]
    assert q.dtype != np.float64, "weights() has no float64"
    if "score_mod" in given:
        scores = bareattn.weights(q, k, stage="product", **options)
        options = {"scale": 0.0, "attn_mask": evaluate(model, given["score_mod"], scores.astype(q.dtype))}
    if "prob_mod" not in given:
        return [run(q, k, v, **options)]
    p = evaluate(model, given["prob_mod"], bareattn.weights(q, k, **options).astype(q.dtype)).astype(np.float64)
    values = np.repeat(v.astype(np.float64), q.shape[1] // v.shape[1], axis=1)
    return [(p @ values).astype(q.dtype)]
