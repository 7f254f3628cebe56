// See metadata.h. One line a key; a test sets each to another value than the neutral one.
#include "model/metadata.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string_view>

#include "bareattn/attention.h"

namespace bareattn::model {
namespace {

// A key and the numbers that ask for nothing (bools are 0 and 1, of an array every element counts).
struct Neutral {
  const char* key;  // after "llama." or "tokenizer.ggml."
  std::initializer_list<double> values;
};

constexpr double unset = 0;  // what these keys have where a converter writes all of them

const Neutral of_model[] = {
    {"attention.causal", {1}},
    {"attention.sliding_window", {unset}},
    {"attention.sliding_window_pattern", {unset, 1}},
    {"attention.max_alibi_bias", {unset}},
    {"attention.clamp_kqv", {unset}},
    {"attention.output_scale", {unset, 1}},
    {"attention.value_scale", {unset, 1}},
    {"attention.temperature_length", {unset}},
    {"attention.temperature_scale", {unset}},
    {"attention.relative_buckets_count", {unset}},
    {"attention.q_lora_rank", {unset}},
    {"attention.kv_lora_rank", {unset}},
    {"attention.key_length_mla", {unset}},
    {"attention.value_length_mla", {unset}},
    {"attention.indexer.head_count", {unset}},
    {"attention.indexer.top_k", {unset}},
    {"attention.compress_ratios", {unset}},
    {"attention.shared_kv_layers", {unset}},
    {"attention.recurrent_layers", {unset}},
    {"attn_logit_softcapping", {unset}},
    {"final_logit_softcapping", {unset}},
    {"router_logit_softcapping", {unset}},
    {"logit_scale", {unset, 1}},
    {"residual_scale", {unset, 1}},
    {"embedding_scale", {unset, 1}},
    {"use_parallel_residual", {unset}},
    {"norm_before_residual", {unset}},
    {"swin_norm", {unset}},
    {"swiglu_clamp_exp", {unset}},
    {"swiglu_clamp_shexp", {unset}},
    {"rescale_every_n_layers", {unset}},
    {"token_shift_count", {unset}},
    {"full_attention_interval", {unset, 1}},
    {"embedding_length_per_layer_input", {unset}},
    {"leading_dense_block_count", {unset}},
    {"nextn_predict_layers", {unset}},
    {"n_deepstack_layers", {unset}},
    {"hash_layer_count", {unset}},
    {"hyper_connection.count", {unset}},
    {"decoder_block_count", {unset}},
    {"expert_count", {unset}},
    {"expert_used_count", {unset}},
    {"expert_shared_count", {unset}},
    {"expert_group_count", {unset}},
    {"expert_feed_forward_length", {unset}},
    {"expert_shared_feed_forward_length", {unset}},
    {"rope.dimension_sections", {unset}},
    {"rope.scale", {unset, 1}},
    {"rope.scaling.alpha", {unset, 1}},
    {"rope.scaling.yarn_log_multiplier", {unset}},
    {"rope.scaling.yarn_attn_factor", {unset, 1}},
};

const Neutral of_tokenizer[] = {
    {"remove_extra_whitespaces", {0}},
};
// The same, but of WordPiece ("bert"): there they are read (config.cc), and add_sep_token is about pairs of texts.
const Neutral of_tokenizer_but_words[] = {
    {"add_eos_token", {0}},
    {"add_sep_token", {0}},
    {"normalizer.lowercase", {0}},
    {"normalizer.strip_accents", {0}},
};

// Read in config.cc (or by gguf.cc), or without any effect on what is computed here.
constexpr std::string_view harmless_of_model[] = {
    "vocab_size",
    "context_length",
    "embedding_length",
    "embedding_length_out",
    "block_count",
    "feed_forward_length",
    "tensor_data_layout",
    "hidden_activation",
    "pooling_type",
    "classifier.output_labels",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.key_length_swa",
    "attention.value_length_swa",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.group_norm_epsilon",
    "attention.group_norm_groups",
    "attention.scale",
    "expert_weights_scale",
    "expert_weights_norm",
    "expert_gating_func",
    "rope.dimension_count",
    "rope.dimension_count_swa",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.attn_factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
};
constexpr std::string_view harmless_of_tokenizer[] = {
    "model",
    "pre",
    "tokens",
    "token_type",
    "token_type_count",
    "scores",
    "merges",
    "added_tokens",
    "bos_token_id",
    "eos_token_id",
    "eot_token_id",
    "eom_token_id",
    "unknown_token_id",
    "seperator_token_id",
    "separator_token_id",
    "padding_token_id",
    "cls_token_id",
    "mask_token_id",
    "add_bos_token",
    "add_space_prefix",
    "precompiled_charsmap",
    "suppress_tokens",
    "fim_pre_token_id",
    "fim_suf_token_id",
    "fim_mid_token_id",
    "fim_pad_token_id",
    "fim_rep_token_id",
    "fim_sep_token_id",
    "prefix_token_id",
    "suffix_token_id",
    "middle_token_id",
};

std::string number_text(double x) {
  std::string text = std::to_string(x);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

bool is_neutral(double x, std::initializer_list<double> values) {
  return std::find(values.begin(), values.end(), x) != values.end();
}

void check_neutral(const GgufFile& file, const std::string& key, std::initializer_list<double> values) {
  const auto found = file.numbers(key);
  if (!found) return;
  std::string needed;
  for (const double value : values) needed += (needed.empty() ? "" : " or ") + number_text(value);
  for (const double x : *found)
    if (!is_neutral(x, values))
      file.fail(key, quoted(key) + " is " + number_text(x) + "; only " + needed + " can be run");
}

// A name out of `names`, or nothing at all.
void check_name(const GgufFile& file, const std::string& key, std::initializer_list<std::string_view> names) {
  const auto found = file.string(key);
  if (!found || std::find(names.begin(), names.end(), *found) != names.end()) return;
  file.fail(key, quoted(key) + " is " + quoted(*found) + "; only " + quoted(*names.begin()) + " can be run");
}

void check_empty(const GgufFile& file, const std::string& key) {
  if (const auto length = file.array_length(key); length && *length != 0)
    file.fail(key, quoted(key) + " has " + std::to_string(*length) + " entries; only an empty one can be run");
}

void check_score_scale(const GgufFile& file, const ModelConfig& config, const std::string& key) {
  const auto scale = file.number(key);
  const double own = static_cast<double>(default_scale(config.head_dim));
  if (!scale || *scale == 0 || std::fabs(*scale - own) <= 1e-6 * own) return;
  file.fail(key, quoted(key) + " is " + number_text(*scale) + "; only 1 / sqrt(" + std::to_string(config.head_dim) +
                     ") can be run");
}

template <class... Lists>
bool is_in(std::string_view name, const Lists&... lists) {
  const auto has = [&](const auto& list) {
    return std::any_of(std::begin(list), std::end(list), [&](const auto& one) {
      if constexpr (std::is_same_v<std::decay_t<decltype(one)>, Neutral>)
        return name == one.key;
      else
        return name == one;
    });
  };
  return (has(lists) || ...);
}

}  // namespace

void check_tokenizer_metadata(const GgufFile& file) {
  const std::string tokenizer = "tokenizer.ggml.";
  for (const Neutral& one : of_tokenizer) check_neutral(file, tokenizer + one.key, one.values);
  if (file.string(tokenizer + "model") != "bert") {
    for (const Neutral& one : of_tokenizer_but_words) check_neutral(file, tokenizer + one.key, one.values);
  } else {  // accents go where capitals go
    const bool lower = file.boolean(tokenizer + "normalizer.lowercase").value_or(true);
    check_neutral(file, tokenizer + "normalizer.strip_accents", {lower ? 1.0 : 0.0});
  }
  check_empty(file, tokenizer + "precompiled_charsmap");
  check_empty(file, tokenizer + "suppress_tokens");
}

std::vector<std::string> check_metadata(const GgufFile& file, const ModelConfig& config,
                                        const std::set<std::string, std::less<>>& read) {
  const std::string model = config.architecture + ".", tokenizer = "tokenizer.ggml.";
  for (const Neutral& one : of_model)
    if (!read.contains(one.key)) check_neutral(file, model + one.key, one.values);
  const bool yarn = config.rope_scaling.type == RopeScaling::Type::yarn;
  check_neutral(file, model + "rope.scaling.yarn_ext_factor", {-1, yarn ? 1.0 : 0.0});  // -1: as the type says
  if (!read.contains("attention.scale")) check_score_scale(file, config, model + "attention.scale");
  if (!read.contains("hidden_activation")) check_name(file, model + "hidden_activation", {"silu", "swish"});
  check_name(file, model + "tensor_data_layout", {"Meta AI original pth", "reference"});
  check_name(file, "general.type", {"model"});

  std::vector<std::string> unknown;
  file.each_key([&](std::string_view key) {
    const bool known =
        key.starts_with(model)
            ? (read.contains(key.substr(model.size())) || is_in(key.substr(model.size()), of_model, harmless_of_model))
        : key.starts_with(tokenizer)
            ? is_in(key.substr(tokenizer.size()), of_tokenizer, of_tokenizer_but_words, harmless_of_tokenizer)
            : true;
    if (!known) unknown.emplace_back(key);
  });
  std::sort(unknown.begin(), unknown.end());
  return unknown;
}

}  // namespace bareattn::model
