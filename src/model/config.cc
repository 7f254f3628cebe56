// See config.h.
#include "model/config.h"

#include <algorithm>
#include <bit>
#include <map>

#include "bareattn/error.h"
#include "base/utf8.h"
#include "model/families.h"
#include "model/limits.h"
#include "model/load_gguf.h"
#include "model/metadata.h"
#include "text/pre_tokenizer_rules.h"

namespace bareattn::model {
namespace {

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

Architecture read_architecture(const GgufFile& file, std::vector<std::string>& warnings) {
  const auto architecture = file.string("general.architecture");
  if (!architecture) file.fail("", "'general.architecture' is missing; the file does not say what model it holds");
  const Family family = find_family(*architecture);
  if (family == nullptr) {
    file.fail("general.architecture",
              "the model's architecture is " + quoted(*architecture) + "; only " + family_names() + " can be run");
  }
  const std::string prefix = std::string(*architecture) + ".";
  const GgufSettings settings(file, prefix);
  Architecture config = family(settings);
  config.architecture = std::string(*architecture);
  warnings = file.warnings();
  const std::string_view name = file.bytes("general.name").value_or("");  // decides nothing
  config.name = shown_text(name);
  if (name.size() > longest_shown)
    warnings.push_back("'general.name' has " + std::to_string(name.size()) + " bytes; its beginning is shown");
  else if (!base::is_utf8(name))
    warnings.push_back("'general.name' is no valid UTF-8: " + quoted(config.name));
  config.file_type = most_used_type(file);

  config.vocab_size = vocabulary_size(file);
  const std::string stated = prefix + "vocab_size";
  if (const auto size = file.integer(stated); size && *size != static_cast<uint64_t>(config.vocab_size)) {
    file.fail(stated, quoted(stated) + " is " + std::to_string(*size) + ", but the vocabulary has " +
                          std::to_string(config.vocab_size) + " tokens");
  }
  for (const std::string& key : check_metadata(file, config, settings.asked()))
    warnings.push_back(quoted(key) +
                       " is not known and not used; if it changes what the model computes, results are wrong");
  return config;
}

namespace {

// What a vocabulary of short tokens takes is many times its bytes in the file: a string each, its place in the list of
// pieces and in the indices by text, and for a merge a place in a table. Counted before anything is copied; what is
// made of scores is counted where it is made (pieces.cc).
void check_vocabulary_memory(const GgufFile& file) {
  const auto tokens = file.strings_size("tokenizer.ggml.tokens"), merges = file.strings_size("tokenizer.ggml.merges");
  constexpr uint64_t token_place = 8 + 4 + 3 * 16, merge_place = 16, room = 56 << 20;
  const uint64_t needed = tokens.memory + tokens.text + tokens.count * token_place + merges.memory +
                          std::bit_ceil(2 * merges.count + 2) * merge_place;
  if (needed <= file.size() + room) return;
  const auto megabytes = [](uint64_t bytes) { return std::to_string(bytes / 1'000'000) + " MB"; };
  file.fail("tokenizer.ggml.tokens", "the vocabulary's " + std::to_string(tokens.count) + " tokens and " +
                                         std::to_string(merges.count) + " merges would take " + megabytes(needed) +
                                         " of memory; of a file of " + megabytes(file.size()) + " at most " +
                                         megabytes(file.size() + room) + " are taken");
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
  check_tokenizer_metadata(file);
  TokenizerSpec spec;
  const auto model = file.string("tokenizer.ggml.model");
  if (!model) file.fail("", "'tokenizer.ggml.model' is missing; the file does not say how text becomes tokens");
  spec.model = std::string(*model);
  spec.pre = std::string(file.string("tokenizer.ggml.pre").value_or(""));
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
  if (spec.model == "llama") spec.scores = file.floats("tokenizer.ggml.scores").value_or(std::vector<float>{});
  // Some files of pieces have both; scores are what their vocabulary was made with.
  if (auto merges = file.strings("tokenizer.ggml.merges"); merges && spec.scores.empty())
    spec.merges = std::move(*merges);
  spec.bos_id = token_id(file, "tokenizer.ggml.bos_token_id", vocabulary);
  spec.eos_id = token_id(file, "tokenizer.ggml.eos_token_id", vocabulary);
  spec.unknown_id = token_id(file, "tokenizer.ggml.unknown_token_id", vocabulary);
  spec.padding_id = token_id(file, "tokenizer.ggml.padding_token_id", vocabulary, true);
  if (spec.model == "bert") {  // its own names for what begins and ends a text
    const int32_t begin = token_id(file, "tokenizer.ggml.cls_token_id", vocabulary);
    const int32_t end = token_id(file, "tokenizer.ggml.seperator_token_id", vocabulary);  // as GGUF spells it
    spec.bos_id = begin >= 0 ? begin : spec.bos_id;
    spec.eos_id = end >= 0 ? end : spec.eos_id;
    spec.add_eos = file.boolean("tokenizer.ggml.add_eos_token").value_or(spec.eos_id >= 0);
    spec.lower_case = file.boolean("tokenizer.ggml.normalizer.lowercase").value_or(true);
  }
  spec.add_bos = file.boolean("tokenizer.ggml.add_bos_token")
                     .value_or(spec.bos_id >= 0 && text::adds_bos_by_default(spec.model, spec.pre));
  spec.add_space_prefix =
      file.boolean("tokenizer.ggml.add_space_prefix").value_or(text::adds_space_by_default(spec.model));
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
