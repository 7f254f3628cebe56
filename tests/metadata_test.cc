// Metadata that would change the result: read, or refused by name where their value is not the neutral one; and after
// which tokens generation ends. A key of every kind that metadata.cc knows is tried with a neutral value and another.
#include "model/metadata.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "bareattn/end_tokens.h"
#include "bareattn/error.h"
#include "bareattn/model.h"
#include "bareattn/model_file.h"
#include "gguf_builder.h"
#include "model/load_gguf.h"

namespace bareattn {
namespace {

using test::GgufBuilder;
using test::tiny_llama;

std::shared_ptr<const Model> model_of(const GgufBuilder& builder) {
  const test::TemporaryFile file(builder.build());
  return Model::load(file.path(), {.precision = Precision::f32, .threads = 1});
}

std::string refusal(const GgufBuilder& builder) {
  try {
    (void)model_of(builder);
  } catch (const FileError& error) {
    return error.what();
  }
  return "accepted";
}

std::vector<float> logits_of(const GgufBuilder& builder) {
  const auto tokens = test::byte_tokens(40);
  Session session(model_of(builder));
  const auto logits = session.run(tokens);
  return {logits.data, logits.data + logits.size()};
}

struct Key {
  const char* name;
  double neutral, other;
};

TEST(Metadata, NumbersThatAskForMoreAreRefusedByName) {
  for (const Key key : {Key{"attention.sliding_window", 0, 4096},
                        {"attention.sliding_window_pattern", 1, 4},
                        {"attention.max_alibi_bias", 0, 8},
                        {"attention.clamp_kqv", 0, 6},
                        {"attention.output_scale", 1, 0.5},
                        {"attention.value_scale", 1, 2},
                        {"attention.temperature_length", 0, 8},
                        {"attention.temperature_scale", 0, 0.1},
                        {"attention.q_lora_rank", 0, 16},
                        {"attention.kv_lora_rank", 0, 16},
                        {"attn_logit_softcapping", 0, 50},
                        {"final_logit_softcapping", 0, 30},
                        {"logit_scale", 1, 0.0625},
                        {"residual_scale", 0, 0.22},
                        {"embedding_scale", 1, 12},
                        {"expert_count", 0, 8},
                        {"expert_used_count", 0, 2},
                        {"nextn_predict_layers", 0, 1},
                        {"leading_dense_block_count", 0, 1},
                        {"rope.scale", 1, 4},
                        {"rope.scaling.alpha", 0, 1000},
                        {"rope.scaling.yarn_log_multiplier", 0, 0.1},
                        {"rope.scaling.yarn_attn_factor", 1, 0.7},
                        {"rope.scaling.yarn_ext_factor", 0, 1},
                        {"attention.scale", 0.25, 0.0625}}) {
    const std::string full = std::string("llama.") + key.name;
    EXPECT_NO_THROW((void)model_of(tiny_llama().f32(full, static_cast<float>(key.neutral)))) << full;
    const std::string text = refusal(tiny_llama().f32(full, static_cast<float>(key.other)));
    EXPECT_NE(text.find("'" + full + "' is "), std::string::npos) << text;
    EXPECT_NE(text.find("can be run"), std::string::npos) << text;
  }
  // Integers, and arrays with an entry a layer, say the same.
  EXPECT_NO_THROW((void)model_of(tiny_llama().u32("llama.expert_count", 0)));
  EXPECT_NE(refusal(tiny_llama().u32("llama.expert_count", 8)).find("is 8; only 0"), std::string::npos);
  EXPECT_NO_THROW((void)model_of(tiny_llama().array<int32_t>("llama.attention.sliding_window", 5, {0, 0})));
  EXPECT_NE(refusal(tiny_llama().array<int32_t>("llama.attention.sliding_window", 5, {0, 512})).find("is 512; only 0"),
            std::string::npos);
  EXPECT_NE(refusal(tiny_llama().string("llama.expert_count", "8")).find("a number is needed"), std::string::npos);
}

TEST(Metadata, BoolsAndNamesAndListsThatAskForMoreAreRefused) {
  struct Bool {
    const char* name;
    uint8_t neutral;
  };
  for (const Bool key : {Bool{"llama.attention.causal", 1},
                         {"llama.use_parallel_residual", 0},
                         {"llama.swin_norm", 0},
                         {"tokenizer.ggml.add_eos_token", 0},
                         {"tokenizer.ggml.add_sep_token", 0},
                         {"tokenizer.ggml.remove_extra_whitespaces", 0},
                         {"tokenizer.ggml.normalizer.lowercase", 0}}) {
    EXPECT_NO_THROW((void)model_of(tiny_llama().boolean(key.name, key.neutral))) << key.name;
    const std::string text = refusal(tiny_llama().boolean(key.name, 1 - key.neutral));
    EXPECT_NE(text.find("'" + std::string(key.name) + "' is "), std::string::npos) << text;
  }
  EXPECT_NO_THROW((void)model_of(tiny_llama().string("llama.hidden_activation", "silu")));
  EXPECT_NE(refusal(tiny_llama().string("llama.hidden_activation", "gelu")).find("'gelu'"), std::string::npos);
  EXPECT_NO_THROW((void)model_of(tiny_llama().string("llama.tensor_data_layout", "Meta AI original pth")));
  EXPECT_NE(refusal(tiny_llama().string("llama.tensor_data_layout", "other")).find("'other'"), std::string::npos);
  EXPECT_NO_THROW((void)model_of(tiny_llama().string("general.type", "model")));
  EXPECT_NE(refusal(tiny_llama().string("general.type", "adapter")).find("'adapter'"), std::string::npos);
  EXPECT_NO_THROW((void)model_of(tiny_llama().array<int32_t>("tokenizer.ggml.suppress_tokens", 5, {})));
  EXPECT_NE(refusal(tiny_llama().array<int32_t>("tokenizer.ggml.suppress_tokens", 5, {7})).find("1 entries"),
            std::string::npos);
}

// What is not known is said, once a key, and is no reason to refuse a file; what is about other things is not looked
// at.
TEST(Metadata, UnknownKeysOfTheModelAreSaid) {
  const auto model =
      model_of(tiny_llama().u32("llama.new_thing", 1).u32("tokenizer.ggml.new", 1).u32("general.new", 1));
  ASSERT_EQ(model->warnings().size(), 2U);
  EXPECT_NE(model->warnings()[0].find("'llama.new_thing' is not known"), std::string::npos);
  EXPECT_NE(model->warnings()[1].find("'tokenizer.ggml.new' is not known"), std::string::npos);
  EXPECT_TRUE(model_of(tiny_llama())->warnings().empty());
}

// A factor without a type is linear, as every reader of these files takes it; its old name says the same.
// No family that is known reads these: one that does is what asks the settings here.
TEST(Metadata, WhatAFamilyReadsIsNotRefused) {
  const test::TemporaryFile path(tiny_llama()
                                     .f32("llama.attn_logit_softcapping", 50)
                                     .f32("llama.attention.scale", 0.3F)
                                     .string("llama.hidden_activation", "gelu")
                                     .f32("llama.new", 1)
                                     .build());
  const model::GgufFile file(path.path());
  const model::GgufSettings settings(file, "llama.");
  ModelConfig config;
  config.architecture = "llama";
  config.head_dim = 16;
  EXPECT_EQ(settings.number("attn_logit_softcapping"), 50);
  EXPECT_THROW(model::check_metadata(file, config, settings.asked()), FileError);
  EXPECT_TRUE(settings.number("attention.scale"));
  EXPECT_THROW(model::check_metadata(file, config, settings.asked()), FileError);
  EXPECT_EQ(settings.string("hidden_activation"), "gelu");
  EXPECT_EQ(model::check_metadata(file, config, settings.asked()), std::vector<std::string>{"llama.new"});
  EXPECT_TRUE(settings.number("new"));
  EXPECT_TRUE(model::check_metadata(file, config, settings.asked()).empty());
}

TEST(Metadata, ScalingOfPositionsWithoutATypeIsLinear) {
  const auto linear =
      logits_of(tiny_llama().string("llama.rope.scaling.type", "linear").f32("llama.rope.scaling.factor", 4));
  EXPECT_NE(linear, logits_of(tiny_llama()));
  EXPECT_EQ(linear, logits_of(tiny_llama().f32("llama.rope.scaling.factor", 4)));
  EXPECT_EQ(linear, logits_of(tiny_llama().f32("llama.rope.scale_linear", 4)));
  EXPECT_EQ(linear, logits_of(tiny_llama().f32("llama.rope.scaling.factor", 4).f32("llama.rope.scale_linear", 2)));
  EXPECT_EQ(logits_of(tiny_llama()), logits_of(tiny_llama().f32("llama.rope.scaling.factor", 0)));
  EXPECT_EQ(logits_of(tiny_llama()),
            logits_of(tiny_llama().string("llama.rope.scaling.type", "none").f32("llama.rope.scaling.factor", 4)));
}

// The attention factor multiplies Q and K whatever the type: scores grow by its square, as if Q's weights had.
TEST(Metadata, AttentionFactorCountsForEveryType) {
  auto larger = tiny_llama();
  for (int layer = 0; layer < 2; ++layer) {
    auto& q = larger.tensor("blk." + std::to_string(layer) + ".attn_q.weight");
    std::vector<float> weights(q.data.size() / sizeof(float));
    std::memcpy(weights.data(), q.data.data(), q.data.size());
    for (float& w : weights) w *= 4;
    std::memcpy(q.data.data(), weights.data(), q.data.size());
  }
  const auto expected = logits_of(larger);
  for (const char* type : {"none", "linear"})
    EXPECT_EQ(logits_of(tiny_llama().string("llama.rope.scaling.type", type).f32("llama.rope.scaling.attn_factor", 2)),
              expected)
        << type;
}

// YaRN without the length of pre-training takes the context's.
TEST(Metadata, YarnTakesTheContextForTheOriginalLength) {
  const auto yarn = [] {
    return tiny_llama().string("llama.rope.scaling.type", "yarn").f32("llama.rope.scaling.factor", 4);
  };
  EXPECT_EQ(logits_of(yarn()), logits_of(yarn().u32("llama.rope.scaling.original_context_length", 2048)));
  EXPECT_NE(logits_of(yarn()), logits_of(yarn().u32("llama.rope.scaling.original_context_length", 64)));
  EXPECT_NO_THROW((void)model_of(yarn().f32("llama.rope.scaling.yarn_ext_factor", 1)));
}

TEST(Metadata, AnEntryALayerIsReadWhereAllAreEqual) {
  const auto model = model_of(tiny_llama()
                                  .array<uint32_t>("llama.attention.head_count_kv", 4, {2, 2})
                                  .array<int32_t>("llama.attention.head_count", 5, {4, 4})
                                  .array<uint32_t>("llama.feed_forward_length", 4, {100, 100}));
  EXPECT_EQ(model->config().kv_heads, 2);
  EXPECT_EQ(model->config().heads, 4);
  EXPECT_EQ(model->config().mlp_width, 100);
  EXPECT_NE(refusal(tiny_llama().array<uint32_t>("llama.attention.head_count_kv", 4, {2, 4})).find("array of 2, 4"),
            std::string::npos);
  EXPECT_NE(refusal(tiny_llama().array<uint32_t>("llama.attention.head_count_kv", 4, {})).find("empty array"),
            std::string::npos);
}

TEST(Metadata, TheEpsilonOfTheNormsIsNotGuessed) {
  EXPECT_NE(refusal(tiny_llama().erase("llama.attention.layer_norm_rms_epsilon")).find("is missing"),
            std::string::npos);
}

// What is odd and changes nothing is said, and the file runs.
TEST(Metadata, OddAndHarmlessIsSaid) {
  auto longer = tiny_llama();
  longer.tail = "x";
  const auto warning = [](const std::shared_ptr<const Model>& model) {
    return model->warnings().size() == 1 ? model->warnings()[0] : std::string("not one warning");
  };
  EXPECT_NE(warning(model_of(longer)).find("1 more bytes; they are not read"), std::string::npos);
  EXPECT_EQ(logits_of(longer), logits_of(tiny_llama()));
  // A narrower type of the last tensor leaves bytes behind it, which cannot be told from such a tail.
  auto narrower = tiny_llama();
  narrower.tensor("blk.1.ffn_down.weight").type = 1;
  EXPECT_NE(model_of(narrower)->warnings().at(0).find("more bytes; they are not read"), std::string::npos);
  const auto named = model_of(tiny_llama().string("general.name", "caf\xe9"));
  EXPECT_EQ(named->config().name, "caf\xEF\xBF\xBD");
  EXPECT_NE(warning(named).find("'general.name' is no valid UTF-8"), std::string::npos);
  for (const char* id : {"padding", "eot", "fim_pad"}) {
    const std::string key = std::string("tokenizer.ggml.") + id + "_token_id";
    EXPECT_NO_THROW((void)model_of(tiny_llama().i32(key, -1))) << key;
    EXPECT_NO_THROW((void)model_of(tiny_llama().u32(key, UINT32_MAX))) << key;
    EXPECT_NE(refusal(tiny_llama().i32(key, -2)).find("may not be negative"), std::string::npos) << key;
  }
}

// As llama.cpp does it, but said.
TEST(Metadata, AFileThatDoesNotNameItsPreTokenizerGetsTheDefaultAndAWarning) {
  for (const GgufBuilder& builder :
       {tiny_llama().erase("tokenizer.ggml.pre"), tiny_llama().string("tokenizer.ggml.pre", "")}) {
    const auto model = model_of(builder);
    EXPECT_EQ(model->tokenizer().spec().pre, "default");
    ASSERT_EQ(model->warnings().size(), 1U);
    EXPECT_NE(model->warnings()[0].find("does not name its pre-tokenizer"), std::string::npos);
    const test::TemporaryFile file(builder.build());
    EXPECT_EQ(read_model_file(file.path()).warnings, model->warnings());
    std::vector<std::string> warnings;
    EXPECT_EQ(read_tokenizer(file.path(), &warnings)->spec().pre, "default");
    EXPECT_EQ(warnings, model->warnings());
  }
  EXPECT_EQ(model_of(tiny_llama().string("tokenizer.ggml.pre", "gpt-2"))->warnings().size(), 0U);
}

TEST(Metadata, WhetherATextBeginsWithATokenIsTheRulesWhereTheFileDoesNotSay) {
  const auto adds = [](const GgufBuilder& builder) { return model_of(builder)->tokenizer().spec().add_bos; };
  const auto named = [](const char* pre) {
    return tiny_llama().string("tokenizer.ggml.pre", pre).u32("tokenizer.ggml.bos_token_id", 258);
  };
  EXPECT_FALSE(adds(named("smollm")));
  EXPECT_TRUE(adds(named("llama-bpe")));
  EXPECT_FALSE(adds(named("llama-bpe").boolean("tokenizer.ggml.add_bos_token", 0)));
  EXPECT_TRUE(adds(named("smollm").boolean("tokenizer.ggml.add_bos_token", 1)));
  EXPECT_FALSE(adds(tiny_llama().string("tokenizer.ggml.pre", "llama-bpe")));  // and there is none to begin with
}

TEST(Metadata, PiecesAreReadWithTheirScores) {
  auto g = test::tiny_pieces();
  const auto model = model_of(g);
  const TokenizerSpec& spec = model->tokenizer().spec();
  EXPECT_EQ(model->warnings().size(), 0U);
  EXPECT_EQ(spec.model, "llama");
  EXPECT_TRUE(spec.add_bos && spec.add_space_prefix);
  EXPECT_EQ(spec.scores.size(), 260U);
  // "\u2581the" is "\u2581t" and "he" where "he" is the better one, and merges that stand there too decide nothing.
  const auto texts = [](const GgufBuilder& builder) {
    const auto made = model_of(builder);
    std::vector<std::string> all;
    for (const int32_t id : made->tokenizer().encode("the")) all.emplace_back(made->tokenizer().piece(id));
    return all;
  };
  EXPECT_EQ(texts(g), (std::vector<std::string>{" t", "he"}));
  EXPECT_EQ(texts(g.strings("tokenizer.ggml.merges", {"t h"})), (std::vector<std::string>{" t", "he"}));
  EXPECT_EQ(*model->tokenizer().encode_within(9, "the", {.continues = true}), (std::vector<int32_t>{253, 258}));
  EXPECT_EQ(texts(g.boolean("tokenizer.ggml.add_space_prefix", 0)), (std::vector<std::string>{"t", "he"}));
  EXPECT_EQ(texts(g.erase("tokenizer.ggml.scores")), (std::vector<std::string>{"th", "e"}));
  EXPECT_NE(refusal(g.strings("tokenizer.ggml.merges", {})).find("neither scores nor merges"), std::string::npos);
  EXPECT_EQ(model->tokenizer().decode(model->tokenizer().encode("the \xff caf\u00e9")), "the \xff caf\u00e9");
}

TEST(Metadata, WordsHaveTheirOwnNamesForWhatBeginsAndEndsAText) {
  const auto spec_of = [](const GgufBuilder& builder) { return model_of(builder)->tokenizer().spec(); };
  const auto words = [] {
    return tiny_llama()
        .string("tokenizer.ggml.model", "bert")
        .strings("tokenizer.ggml.merges", {})
        .u32("tokenizer.ggml.unknown_token_id", 0)
        .u32("tokenizer.ggml.cls_token_id", 258)
        .u32("tokenizer.ggml.seperator_token_id", 257);
  };
  const TokenizerSpec spec = spec_of(words().boolean("tokenizer.ggml.add_sep_token", 1));
  EXPECT_EQ(spec.bos_id, 258);
  EXPECT_EQ(spec.eos_id, 257);
  EXPECT_TRUE(spec.add_bos && spec.add_eos && spec.lower_case);
  EXPECT_EQ(model_of(words())->tokenizer().encode("", false, true), (std::vector<int32_t>{258, 257}));
  EXPECT_FALSE(spec_of(words().boolean("tokenizer.ggml.add_eos_token", 0)).add_eos);
  EXPECT_FALSE(spec_of(words().boolean("tokenizer.ggml.normalizer.lowercase", 0)).lower_case);
  EXPECT_NE(refusal(words().boolean("tokenizer.ggml.normalizer.strip_accents", 0)).find("is 0; only 1"),
            std::string::npos);
  EXPECT_EQ(spec_of(words().erase("tokenizer.ggml.cls_token_id")).add_bos, false);
}

// What changes the ids is refused as well where nothing but the tokenizer is wanted.
TEST(Metadata, TheTokenizersKeysAreLookedAtWhereTheModelCannotBeRun) {
  const test::TemporaryFile file(
      tiny_llama().string("general.architecture", "mamba").boolean("tokenizer.ggml.add_eos_token", 1).build());
  EXPECT_THROW((void)read_tokenizer(file.path()), FileError);
}

// A file that cannot be run still says what it is, and its tokenizer can be had alone.
TEST(Metadata, AFileIsReadWithoutBeingRun) {
  const test::TemporaryFile file(tiny_llama().string("general.architecture", "mamba").build());
  const ModelFile read = read_model_file(file.path());
  EXPECT_EQ(read.architecture, "mamba");
  EXPECT_EQ(read.name, "tiny");
  EXPECT_EQ(read.file_type, "F32");
  EXPECT_EQ(read.config, nullptr);
  EXPECT_NE(read.problem.find("'mamba'"), std::string::npos);
  ASSERT_NE(read.tokenizer, nullptr);
  EXPECT_EQ(read.tokenizer->encode("the"), read_tokenizer(file.path())->encode("the"));
  const test::TemporaryFile good(tiny_llama().build());
  const ModelFile run = read_model_file(good.path());
  EXPECT_EQ(run.problem, "");
  ASSERT_NE(run.config, nullptr);
  EXPECT_EQ(run.config->layers, 2);
  EXPECT_EQ(run.parameters, model_of(tiny_llama())->parameters());
  EXPECT_EQ(run.sha256, Model::load(good.path())->sha256());
}

std::vector<int32_t> ends_of(const GgufBuilder& builder) { return end_tokens(*model_of(builder)); }

TEST(Metadata, GenerationEndsWhereTheFileSaysSo) {
  EXPECT_EQ(ends_of(tiny_llama()), std::vector<int32_t>{259});
  for (const char* key : {"eot", "eom", "fim_pad", "fim_rep", "fim_sep"}) {
    const std::string full = std::string("tokenizer.ggml.") + key + "_token_id";
    EXPECT_EQ(ends_of(tiny_llama().u32(full, 65)), (std::vector<int32_t>{65, 259})) << key;
    EXPECT_NE(refusal(tiny_llama().u32(full, 260)).find("the vocabulary has 260 tokens"), std::string::npos) << key;
  }
  // Control tokens by their usual names, whatever eos_token_id says; a plain word of that name ends nothing.
  EXPECT_EQ(ends_of(tiny_llama().u32("tokenizer.ggml.eos_token_id", 258)), (std::vector<int32_t>{258, 259}));
  std::vector<int32_t> types(260, 1);
  types[258] = 3;
  EXPECT_EQ(
      ends_of(
          tiny_llama().u32("tokenizer.ggml.eos_token_id", 258).array<int32_t>("tokenizer.ggml.token_type", 5, types)),
      std::vector<int32_t>{258});
}

// What greedy generation makes first, declared as the end of a turn, is the last that it makes.
TEST(Metadata, GenerationStopsAtTheEndOfATurn) {
  const auto made = [](const GgufBuilder& builder) {
    Session session(model_of(builder));
    return generate(session, session.run(test::byte_tokens(8)), 12);
  };
  const auto whole = made(tiny_llama());
  ASSERT_EQ(whole.size(), 12U);
  const auto first = std::find(whole.begin(), whole.end(), whole[3]);
  const std::vector<int32_t> until(whole.begin(), first + 1);
  EXPECT_EQ(made(tiny_llama().u32("tokenizer.ggml.eot_token_id", static_cast<uint32_t>(whole[3]))), until);
}

}  // namespace
}  // namespace bareattn
