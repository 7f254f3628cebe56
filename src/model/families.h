// The families of models that can be run, each a function in families/ that turns a file's settings into an
// architecture and says only what differs. To add one: its file, its line in families.cc, its pre-tokenizer, its golden
// logits (CONTRIBUTING.md). Next: families/llama.cc.
#pragma once
#include <string>
#include <string_view>

#include "bareattn/architecture.h"
#include "model/settings.h"

namespace bareattn::model {

using Family = Architecture (*)(const Settings&);

/// By GGUF's name of the architecture; null where it is not known.
Family find_family(std::string_view name);
/// Those that are known: "'llama'".
std::string family_names();

/// What all families have: sizes, heads, rotary positions, whether the unembedding is the embedding. Heads that do not
/// fit each other are refused.
Architecture common(const Settings& settings);
/// The same of those with LayerNorm, biases everywhere and an MLP without a gate: GPT-2 and its heirs.
Architecture common_gpt(const Settings& settings);

/// What differs in the layers with a window, and which these are: those that `attention.sliding_window_pattern` lists,
/// or of every so many (what it says, else `period`) all but the last. A row of theirs sees `attention.sliding_window`
/// keys, itself among them; 0 says that there are none.
struct Windows {
  uint64_t period = 0;      // 0: every layer has one
  uint64_t keys = 0;        // without `attention.sliding_window`
  float rope_base = 0;      // without `rope.freq_base_swa`; 0: the model's
  bool rope_scaled = true;  // by the model's RopeScaling
};
void set_windows(const Settings& settings, Architecture& architecture, const Windows& windows);
/// In all layers, as `attention.scale` says or else `otherwise`; 0: 1 / sqrt(D).
void set_score_scale(const Settings& settings, Architecture& architecture, float otherwise = 0);

/// What Gemma 2 and 3 have in common (families/gemma2.cc).
Architecture gemma(const Settings& settings, int layers_of_largest);

Architecture llama(const Settings& settings);
Architecture qwen2(const Settings& settings);
Architecture qwen3(const Settings& settings);
Architecture gpt2(const Settings& settings);
Architecture gptneox(const Settings& settings);
Architecture gemma2(const Settings& settings);
Architecture gemma3(const Settings& settings);
Architecture phi3(const Settings& settings);
Architecture olmo2(const Settings& settings);
Architecture smollm3(const Settings& settings);
Architecture granite(const Settings& settings);

}  // namespace bareattn::model
