// See end_tokens.h.
#include "bareattn/end_tokens.h"

#include <algorithm>
#include <string_view>

#include "model/loaded_model.h"
#include "text/vocabulary.h"

namespace bareattn {
namespace {

constexpr std::string_view names[] = {
    "<|endoftext|>", "<|end_of_text|>", "</s>",       "<eos>",         "[EOS]",               // of a text
    "<|im_end|>",    "<|eot_id|>",      "<|end|>",    "<end_of_turn>", "<turn|>",             // of a turn
    "<EOT>",         "_<EOT>",          "[EOT]",      "<|return|>",    "<end_of_utterance>",  // of a turn
    "<|eom_id|>",    "<|call|>",        "<|calls|>",  "<|flush|>",     "<|tool_response>",    // of a message
    "<|fim_pad|>",   "<fim-pad>",       "<fim_pad>",  "<PAD>",         "[PAD]",               // of filling in
    "<|fim_repo|>",  "<|repo_name|>",   "<fim-repo>", "<REPO>",        "<reponame>",          // of a repository
    "<|file_sep|>",                                                                           // of a file
};

}  // namespace

std::vector<int32_t> end_tokens(const TokenizerSpec& spec, std::span<const int32_t> named) {
  std::vector<int32_t> ends(named.begin(), named.end());
  ends.push_back(spec.eos_id);
  const auto has = [&](std::string_view name) {
    return std::any_of(ends.begin(), ends.end(),
                       [&](int32_t id) { return spec.tokens[static_cast<size_t>(id)] == name; });
  };
  std::erase_if(ends, [&](int32_t id) { return id < 0 || static_cast<size_t>(id) >= spec.tokens.size(); });
  for (size_t id = 0; id < spec.token_types.size(); ++id) {
    const auto type = static_cast<text::TokenType>(spec.token_types[id]);
    if (type != text::TokenType::control && type != text::TokenType::user_defined) continue;
    if (std::find(std::begin(names), std::end(names), spec.tokens[id]) != std::end(names))
      ends.push_back(static_cast<int32_t>(id));
  }
  // Where messages are told apart ("harmony"), <|end|> ends one message of a turn and not the turn.
  const bool call = has("<|call|>") || has("<|calls|>");
  if (call && (has("<|return|>") || has("<|flush|>")))
    std::erase_if(ends, [&](int32_t id) { return spec.tokens[static_cast<size_t>(id)] == "<|end|>"; });
  if (has("<|tool_response>"))  // such a vocabulary has </s> for something else
    std::erase_if(ends, [&](int32_t id) { return spec.tokens[static_cast<size_t>(id)] == "</s>"; });
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  return ends;
}

std::vector<int32_t> end_tokens(const Model& model) {
  const auto* loaded = dynamic_cast<const model::LoadedModel*>(&model);
  return loaded != nullptr ? loaded->end_tokens() : end_tokens(model.tokenizer().spec(), {});
}

bool ends_generation(const Model& model, int32_t id) {
  const std::vector<int32_t> ends = end_tokens(model);
  return std::binary_search(ends.begin(), ends.end(), id);
}

}  // namespace bareattn
