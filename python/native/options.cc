// See options.h.
#include "options.h"

#include <nanobind/stl/string.h>

#include <utility>

namespace bareattn::python {
namespace {

template <class T>
void take(const Named& options, const char* name, T& to, const char* needed) {
  nb::object value = options[name];
  if (value.is_none()) return;
  if constexpr (std::is_same_v<T, bool>) {
    if (PyBool_Check(value.ptr())) {
      to = value.ptr() == Py_True;
      return;
    }
  } else if (!PyBool_Check(value.ptr()) && nb::try_cast<T>(value, to)) {
    return;
  }
  throw nb::type_error((std::string(name) + ": given " + kind_of(value) + "; needed " + needed).c_str());
}

bool has(const Named& dict, const char* name) { return !dict[name].is_none(); }

}  // namespace

Named::Named(nb::dict dict) : dict_(std::move(dict)) {
  for (auto [key, value] : dict_) {
    Py_ssize_t length = 0;
    const char* text = PyUnicode_AsUTF8AndSize(key.ptr(), &length);
    if (text == nullptr) throw nb::python_error();
    items_.emplace_back(std::string_view(text, static_cast<size_t>(length)), value);
  }
}

nb::object Named::operator[](std::string_view name) const {
  for (const auto& [key, value] : items_)
    if (key == name) return nb::borrow(value);
  return nb::none();
}

Options::Options(nb::dict options, nb::dict returns) {
  read_options(Named(std::move(options)));
  read_returns(Named(std::move(returns)));
}

void Options::read_options(const Named& options) {
  float scale = 0;
  int64_t offset = 0;
  std::string align;
  bool mask_bf16 = false;
  take(options, "scale", scale, "a number");
  if (has(options, "scale")) params.scale = scale;
  take(options, "is_causal", params.is_causal, "a bool");
  take(options, "causal_align", align, "'top_left' or 'bottom_right'");
  if (align == "bottom_right") {
    params.causal_align = CausalAlign::bottom_right;
  } else if (!align.empty() && align != "top_left") {
    throw std::invalid_argument("causal_align: given '" + align + "'; needed 'top_left' or 'bottom_right'");
  }
  take(options, "offset", offset, "an integer");
  if (has(options, "offset")) params.offset = offset;
  take(options, "left_window", params.left_window, "an integer");
  take(options, "leading_keys", params.leading_keys, "an integer");
  take(options, "right_window", params.right_window, "an integer");
  take(options, "softcap", params.softcap, "a number");
  std::string compute;
  take(options, "compute", compute, "'f32' or 'bf16'");
  if (compute == "bf16") {
    params.compute = Compute::bf16;
  } else if (!compute.empty() && compute != "f32") {
    throw std::invalid_argument("compute: given '" + compute + "'; needed 'f32' or 'bf16'");
  }
  take(options, "threads", params.threads, "an integer");
  take(options, "mask_bf16", mask_bf16, "a bool");
  if (has(options, "attn_mask")) params.attn_mask = arrays_.any("attn_mask", options["attn_mask"], mask_bf16);
  if (has(options, "alibi_slopes"))
    params.alibi_slopes = slopes_ = arrays_.floats("alibi_slopes", options["alibi_slopes"]);
  if (has(options, "sinks")) params.sinks = sinks_ = arrays_.floats("sinks", options["sinks"]);
  if (has(options, "cu_seqlens_q"))
    params.cu_seqlens_q = cu_q_ = arrays_.integers("cu_seqlens_q", options["cu_seqlens_q"]);
  if (has(options, "cu_seqlens_k"))
    params.cu_seqlens_k = cu_k_ = arrays_.integers("cu_seqlens_k", options["cu_seqlens_k"]);
  if (has(options, "kv_lengths")) params.kv_lengths = lengths_ = arrays_.integers("kv_lengths", options["kv_lengths"]);
}

// Row arrays are [B, Hq, Sq], column_sums [B, Hq, Sk], all dense: made by the Python side.
void Options::read_returns(const Named& returns) {
  if (returns.empty()) return;
  struct Field {
    const char* name;
    float* AttentionStatistics::*member;
  };
  static constexpr Field fields[] = {{"lse", &AttentionStatistics::lse},
                                     {"max_logit", &AttentionStatistics::max_logit},
                                     {"row_sum", &AttentionStatistics::row_sum},
                                     {"entropy", &AttentionStatistics::entropy},
                                     {"sum_squares", &AttentionStatistics::sum_squares},
                                     {"mean_distance", &AttentionStatistics::mean_distance},
                                     {"first_mass", &AttentionStatistics::first_mass},
                                     {"self_weight", &AttentionStatistics::self_weight},
                                     {"previous_weight", &AttentionStatistics::previous_weight},
                                     {"recent_mass", &AttentionStatistics::recent_mass}};
  const auto with = [&](const char* name, auto&& each) {
    if (!has(returns, name)) return;
    const auto array = nb::cast<nb::ndarray<nb::c_contig, nb::device::cpu>>(nb::object(returns[name]));
    const auto batch = static_cast<int64_t>(array.shape(0));
    if (statistics_.empty()) statistics_.resize(static_cast<size_t>(batch));
    const auto last = static_cast<int64_t>(array.shape(2)), entry = static_cast<int64_t>(array.shape(1)) * last;
    for (int64_t b = 0; b < batch; ++b) each(statistics_[static_cast<size_t>(b)], array.data(), b * entry, last);
  };
  for (const Field& field : fields)
    with(field.name, [&](AttentionStatistics& s, void* data, int64_t at, int64_t rows) {
      s.*field.member = static_cast<float*>(data) + at;
      s.row_stride = rows;
    });
  with("max_key", [](AttentionStatistics& s, void* data, int64_t at, int64_t rows) {
    s.max_key = static_cast<int32_t*>(data) + at;
    s.row_stride = rows;
  });
  with("column_sums", [](AttentionStatistics& s, void* data, int64_t at, int64_t keys) {
    s.received = static_cast<uint64_t*>(data) + at;
    s.key_stride = keys;
  });
  params.returns.statistics = statistics_;
  if (has(returns, "top_keys")) {
    const auto keys = nb::cast<nb::ndarray<nb::c_contig, nb::device::cpu>>(nb::object(returns["top_keys"]));
    const auto weights = nb::cast<nb::ndarray<nb::c_contig, nb::device::cpu>>(nb::object(returns["top_weights"]));
    params.returns.top_k = static_cast<int>(keys.shape(3));
    params.returns.top_keys = static_cast<int32_t*>(keys.data());
    params.returns.top_weights = static_cast<float*>(weights.data());
  }
  if (has(returns, "full_rows")) {
    params.returns.full_rows = full_rows_ = arrays_.integers("full_rows", returns["full_rows"]);
    const auto weights = nb::cast<nb::ndarray<nb::c_contig, nb::device::cpu>>(nb::object(returns["full_weights"]));
    params.returns.full_weights = static_cast<float*>(weights.data());
  }
}

}  // namespace bareattn::python
