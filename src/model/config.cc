// See config.h. To add a model family: accept its name in read_config, and say in weights.cc and layer.cc what differs.
#include "model/config.h"

#include <algorithm>
#include <bit>
#include <map>

#include "bareattn/error.h"
#include "base/utf8.h"
#include "model/metadata.h"

namespace bareattn::model {
namespace {

// Limits far above any real model, low enough that no product of a few of them comes near 2^63.
constexpr uint64_t max_layers = 4'096;
constexpr uint64_t max_heads = 65'536;
constexpr uint64_t max_width = 1'048'576;
constexpr uint64_t max_context = 1'073'741'824;
constexpr uint64_t max_vocabulary = 4'194'304;
constexpr uint64_t max_merges = 1'048'576;  // twice what the largest vocabularies have (514,906 for 262,144 tokens)

class Keys {
 public:
  Keys(const GgufFile& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  std::string name(const char* key) const { return prefix_ + key; }

  /// In [1, limit]; `fallback` where the key is absent, 0 for a key that must be there.
  int positive(const char* key, uint64_t limit, uint64_t fallback = 0) const {
    const std::string full = name(key);
    const auto value = file_.integer(full);
    if (!value && fallback == 0) file_.fail(full, quoted(full) + " is missing; the model cannot be run without it");
    const uint64_t number = value.value_or(fallback);
    if (number < 1 || number > limit) {
      file_.fail(full,
                 quoted(full) + " is " + std::to_string(number) + "; 1 to " + std::to_string(limit) + " is needed");
    }
    return static_cast<int>(number);
  }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

void check_heads(const GgufFile& file, const Keys& keys, const ModelConfig& config) {
  const std::string kv = keys.name("attention.head_count_kv");
  if (config.heads % config.kv_heads != 0) {
    file.fail(kv, quoted(kv) + " is " + std::to_string(config.kv_heads) + ", which does not divide the " +
                      std::to_string(config.heads) + " query heads");
  }
  const std::string value = keys.name("attention.value_length");
  if (const auto length = file.integer(value); length && *length != static_cast<uint64_t>(config.head_dim)) {
    file.fail(value, quoted(value) + " is " + std::to_string(*length) + "; it must equal the key length, " +
                         std::to_string(config.head_dim));
  }
  const std::string rope = keys.name("rope.dimension_count");
  if (config.rope_dim > config.head_dim || config.rope_dim % 2 != 0) {
    file.fail(rope, quoted(rope) + " is " + std::to_string(config.rope_dim) + "; an even number up to " +
                        std::to_string(config.head_dim) + " is needed");
  }
}

float positive_float(const GgufFile& file, const std::string& key, double fallback, double limit) {
  const double value = file.number(key).value_or(fallback);
  if (!(value > 0) || value > limit) {
    file.fail(key, quoted(key) + " is " + std::to_string(value) + "; a number over 0 and up to " +
                       std::to_string(limit) + " is needed");
  }
  return static_cast<float>(value);
}

// As readers of these files do it: a factor without a type is linear, and 0 is no factor.
RopeScaling read_scaling(const GgufFile& file, const Keys& keys, int context) {
  RopeScaling scaling;
  const std::string key = keys.name("rope.scaling.type");
  const std::string type(file.string(key).value_or("linear"));
  if (type != "none" && type != "linear" && type != "yarn")
    file.fail(key, quoted(key) + " is " + quoted(type) + "; only 'none', 'linear' and 'yarn' can be run");
  scaling.attention_factor = positive_float(file, keys.name("rope.scaling.attn_factor"), 1.0, 1e3);
  if (type == "none") return scaling;
  std::string factor = keys.name("rope.scaling.factor");
  if (!file.number(factor)) factor = keys.name("rope.scale_linear");  // its old name
  if (file.number(factor).value_or(0) != 0) scaling.factor = positive_float(file, factor, 1.0, 1e6);
  if (type == "linear") {
    if (scaling.factor != 1) scaling.type = RopeScaling::Type::linear;
    return scaling;
  }
  scaling.type = RopeScaling::Type::yarn;
  scaling.original_context =
      keys.positive("rope.scaling.original_context_length", max_context, static_cast<uint64_t>(context));
  scaling.beta_fast = positive_float(file, keys.name("rope.scaling.yarn_beta_fast"), 32.0, 1e6);
  scaling.beta_slow = positive_float(file, keys.name("rope.scaling.yarn_beta_slow"), 1.0, 1e6);
  return scaling;
}

int vocabulary_size(const GgufFile& file) {
  const auto tokens = file.array_length("tokenizer.ggml.tokens", ValueType::string);
  if (!tokens) file.fail("", "'tokenizer.ggml.tokens' is missing; the file has no vocabulary");
  if (*tokens < 1 || *tokens > max_vocabulary) {
    file.fail("tokenizer.ggml.tokens", "the vocabulary has " + std::to_string(*tokens) + " tokens; 1 to " +
                                           std::to_string(max_vocabulary) + " are needed");
  }
  return static_cast<int>(*tokens);
}

// `may_be_none`: some files write -1 where there is none.
int32_t token_id(const GgufFile& file, const char* key, int vocab_size, bool may_be_none = false) {
  if (may_be_none) {
    const auto stated = file.numbers(key);
    if (stated && stated->size() == 1 && (stated->front() == -1 || stated->front() == UINT32_MAX)) return -1;
  }
  const auto value = file.integer(key);
  if (!value) return -1;
  if (*value >= static_cast<uint64_t>(vocab_size)) {
    file.fail(key, quoted(key) + " is " + std::to_string(*value) + "; the vocabulary has " +
                       std::to_string(vocab_size) + " tokens");
  }
  return static_cast<int32_t>(*value);
}

}  // namespace

std::string most_used_type(const GgufFile& file) {
  std::map<TensorType, double> weights;
  for (const TensorInfo& tensor : file.tensors())
    weights[tensor.type] += static_cast<double>(tensor.rows()) * static_cast<double>(tensor.columns());
  const auto best = std::max_element(weights.begin(), weights.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return best == weights.end() ? "" : type_name(static_cast<uint32_t>(best->first));
}

std::string shown_text(std::string_view text) {
  text = text.substr(0, longest_shown);
  return base::is_utf8(text) ? std::string(text) : base::escape_for_terminal(text);
}

ModelConfig read_config(const GgufFile& file, std::vector<std::string>& warnings) {
  ModelConfig config;
  const auto architecture = file.string("general.architecture");
  if (!architecture) file.fail("", "'general.architecture' is missing; the file does not say what model it holds");
  if (*architecture != "llama") {
    file.fail("general.architecture",
              "the model's architecture is " + quoted(*architecture) + "; only 'llama' can be run");
  }
  config.architecture = std::string(*architecture);
  warnings = file.warnings();
  const std::string_view name = file.bytes("general.name").value_or("");  // decides nothing
  config.name = shown_text(name);
  if (name.size() > longest_shown)
    warnings.push_back("'general.name' has " + std::to_string(name.size()) + " bytes; its beginning is shown");
  else if (!base::is_utf8(name))
    warnings.push_back("'general.name' is no valid UTF-8: " + quoted(config.name));
  config.file_type = most_used_type(file);

  const Keys keys(file, config.architecture + ".");
  config.layers = keys.positive("block_count", max_layers);
  config.context_length = keys.positive("context_length", max_context);
  config.width = keys.positive("embedding_length", max_width);
  config.mlp_width = keys.positive("feed_forward_length", max_width);
  config.heads = keys.positive("attention.head_count", max_heads);
  config.kv_heads = keys.positive("attention.head_count_kv", max_heads, static_cast<uint64_t>(config.heads));
  const bool divides = config.width % config.heads == 0;
  if (!divides && !file.integer(keys.name("attention.key_length"))) {
    const std::string key = keys.name("attention.head_count");
    file.fail(key, quoted(key) + " is " + std::to_string(config.heads) + ", which does not divide the width " +
                       std::to_string(config.width));
  }
  config.head_dim = keys.positive("attention.key_length", max_width,
                                  std::max<uint64_t>(1, static_cast<uint64_t>(config.width / config.heads)));
  config.rope_dim = keys.positive("rope.dimension_count", max_width, static_cast<uint64_t>(config.head_dim));
  check_heads(file, keys, config);
  config.rope_base = positive_float(file, keys.name("rope.freq_base"), 10000.0, 1e12);
  config.rope_scaling = read_scaling(file, keys, config.context_length);
  const std::string epsilon = keys.name("attention.layer_norm_rms_epsilon");
  if (!file.number(epsilon)) file.fail(epsilon, quoted(epsilon) + " is missing; the model cannot be run without it");
  config.norm_epsilon = positive_float(file, epsilon, 0, 1.0);

  config.vocab_size = vocabulary_size(file);
  const std::string stated = keys.name("vocab_size");
  if (const auto size = file.integer(stated); size && *size != static_cast<uint64_t>(config.vocab_size)) {
    file.fail(stated, quoted(stated) + " is " + std::to_string(*size) + ", but the vocabulary has " +
                          std::to_string(config.vocab_size) + " tokens");
  }
  for (const std::string& key : check_metadata(file, config))
    warnings.push_back(quoted(key) +
                       " is not known and not used; if it changes what the model computes, results are wrong");
  return config;
}

namespace {

// What a vocabulary of short tokens takes is many times its bytes in the file: a string each, its place in the list of
// pieces and in the index by text, and for a merge a place in a table. Counted before anything is copied.
void check_vocabulary_memory(const GgufFile& file) {
  const auto tokens = file.strings_size("tokenizer.ggml.tokens"), merges = file.strings_size("tokenizer.ggml.merges");
  constexpr uint64_t token_place = 8 + 4 + 16, merge_place = 16, room = 56 << 20;
  const uint64_t needed = tokens.memory + tokens.text + tokens.count * token_place + merges.memory +
                          std::bit_ceil(2 * merges.count + 2) * merge_place;
  if (needed <= file.file().size() + room) return;
  const auto megabytes = [](uint64_t bytes) { return std::to_string(bytes / 1'000'000) + " MB"; };
  file.fail("tokenizer.ggml.tokens", "the vocabulary's " + std::to_string(tokens.count) + " tokens and " +
                                         std::to_string(merges.count) + " merges would take " + megabytes(needed) +
                                         " of memory; of a file of " + megabytes(file.file().size()) + " at most " +
                                         megabytes(file.file().size() + room) + " are taken");
}

// A merge is one way to cut a token in two, and no merge stands twice: a token of n bytes has at most n - 1. Checked
// before the merges are copied, since each costs several times its bytes in the file.
void check_merge_count(const GgufFile& file, const std::vector<std::string>& tokens) {
  const char* key = "tokenizer.ggml.merges";
  const auto count = file.array_length(key, ValueType::string);
  uint64_t cuts = 0;
  for (const std::string& token : tokens) cuts += token.empty() ? 0 : token.size() - 1;
  if (count && *count > std::min(cuts, max_merges)) {
    file.fail(key, quoted(key) + " holds " + std::to_string(*count) + " merges; the tokens of this vocabulary can be " +
                       "cut in two in " + std::to_string(cuts) + " ways, and at most " + std::to_string(max_merges) +
                       " merges are read");
  }
}

}  // namespace

TokenizerSpec read_tokenizer(const GgufFile& file) {
  const int vocabulary = vocabulary_size(file);
  check_vocabulary_memory(file);
  TokenizerSpec spec;
  const auto model = file.string("tokenizer.ggml.model");
  if (!model) file.fail("", "'tokenizer.ggml.model' is missing; the file does not say how text becomes tokens");
  spec.model = std::string(*model);
  spec.pre = std::string(file.string("tokenizer.ggml.pre").value_or(""));
  if (spec.model == "gpt2" && !file.string("tokenizer.ggml.pre")) {
    file.fail("",
              "'tokenizer.ggml.pre' is missing; the file does not say how text is cut into words before it is merged, "
              "and a wrong guess gives plausible wrong tokens");
  }
  spec.tokens = *file.strings("tokenizer.ggml.tokens");
  check_merge_count(file, spec.tokens);
  const auto check_length = [&](const char* key, std::optional<uint64_t> length) {
    if (!length || *length == static_cast<uint64_t>(vocabulary)) return;
    file.fail(key, quoted(key) + " has " + std::to_string(*length) + " entries, but the vocabulary has " +
                       std::to_string(vocabulary) + " tokens");
  };
  if (const auto types = file.integers_length("tokenizer.ggml.token_type")) {
    check_length("tokenizer.ggml.token_type", types);  // before they are copied
    spec.token_types = *file.integers("tokenizer.ggml.token_type");
  }
  check_length("tokenizer.ggml.scores", file.array_length("tokenizer.ggml.scores", ValueType::f32));
  if (auto merges = file.strings("tokenizer.ggml.merges")) spec.merges = std::move(*merges);
  spec.bos_id = token_id(file, "tokenizer.ggml.bos_token_id", vocabulary);
  spec.eos_id = token_id(file, "tokenizer.ggml.eos_token_id", vocabulary);
  spec.unknown_id = token_id(file, "tokenizer.ggml.unknown_token_id", vocabulary);
  spec.padding_id = token_id(file, "tokenizer.ggml.padding_token_id", vocabulary, true);
  spec.add_bos = file.boolean("tokenizer.ggml.add_bos_token").value_or(false);
  spec.add_space_prefix = file.boolean("tokenizer.ggml.add_space_prefix").value_or(false);
  spec.chat_template = std::string(file.string("tokenizer.chat_template").value_or(""));
  return spec;
}

std::vector<int32_t> named_ends(const GgufFile& file) {
  std::vector<int32_t> ends;
  for (const char* of : {"eot", "eom", "fim_pad", "fim_rep", "fim_sep"}) {
    const std::string key = std::string("tokenizer.ggml.") + of + "_token_id";
    if (const int32_t id = token_id(file, key.c_str(), vocabulary_size(file), true); id >= 0) ends.push_back(id);
  }
  return ends;
}

std::shared_ptr<const Tokenizer> make_tokenizer(const GgufFile& file) {
  TokenizerSpec spec = read_tokenizer(file);
  try {
    return std::make_shared<const Tokenizer>(std::move(spec));
  } catch (const FileError&) {
    throw;
  } catch (const InputError& error) {  // the tokenizer does not know which file its tables came from
    throw FileError(file.file().path(), FileError::no_offset, error.what());
  }
}

}  // namespace bareattn::model
