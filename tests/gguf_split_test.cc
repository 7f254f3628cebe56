// A model split into several GGUF files: read like the one file it was, and everything that must be refused.
#include <gtest/gtest.h>

#include <fstream>

#include "bareattn/error.h"
#include "bareattn/model.h"
#include "bareattn/quantize.h"
#include "files/gguf.h"
#include "folder.h"
#include "gguf_builder.h"

namespace bareattn::model {
namespace {

using test::bytes_of;
using test::GgufBuilder;

GgufBuilder& u16(GgufBuilder& g, const std::string& key, uint16_t x) {
  return g.raw(key, bytes_of<uint32_t>(2) + bytes_of(x));
}

/// tiny_llama() in `count` files; `change` may spoil a part.
struct Split {
  test::Folder folder;
  std::string path(int part, int count = 3) const {
    char name[64];
    std::snprintf(name, sizeof name, "tiny-%05d-of-%05d.gguf", part, count);
    return folder / name;
  }
  explicit Split(const std::function<void(int, GgufBuilder&)>& change = {}) {
    GgufBuilder whole = test::tiny_llama();
    for (int part = 0; part < 3; ++part) {
      GgufBuilder g;
      if (part == 0) g.values = whole.values;
      u16(g, "split.no", static_cast<uint16_t>(part));
      u16(g, "split.count", 3).i32("split.tensors.count", static_cast<int32_t>(whole.tensors.size()));
      for (size_t i = 0; i < whole.tensors.size(); ++i)
        if (static_cast<int>(i % 3) == part) g.tensors.push_back(whole.tensors[i]);
      if (change) change(part, g);
      std::ofstream(path(part + 1), std::ios::binary) << g.build();
    }
  }
};

TEST(GgufSplit, IsReadAsOneFile) {
  const test::TemporaryFile whole(test::tiny_llama().build());
  const GgufFile one(whole.path());
  const Split split;
  const GgufFile parts(split.path(1));
  EXPECT_EQ(parts.parts(), 3U);
  ASSERT_EQ(parts.tensors().size(), one.tensors().size());
  for (size_t i = 0; i < one.tensors().size(); ++i) {
    const TensorInfo &a = one.tensors()[i], &b = parts.tensors()[i];
    ASSERT_EQ(a.name, b.name);
    ASSERT_EQ(a.bytes, b.bytes);
    std::vector<std::byte> x(a.bytes), y(b.bytes);
    one.read_at(a.offset, x);
    parts.read_at(b.offset, y);
    EXPECT_EQ(x, y) << a.name;
  }
  const LoadOptions options{.precision = Precision::f32, .threads = 1};
  const auto a = Model::load(whole.path(), options), b = Model::load(split.path(1), options);
  EXPECT_EQ(a->parameters(), b->parameters());
  EXPECT_NE(a->sha256(), b->sha256());
  Session s(a, {}), t(b, {});
  const auto tokens = test::byte_tokens(20);
  const auto p = s.run(tokens, Logits::last), q = t.run(tokens, Logits::last);
  EXPECT_EQ(std::memcmp(p.data, q.data, sizeof(float) * static_cast<size_t>(a->config().vocab_size)), 0);
  EXPECT_THROW(quantize(split.path(1), split.folder / "out.gguf", WeightType::f16), FileError);
}

void expect_refused(const std::string& path, const std::string& part, const std::string& text) {
  try {
    GgufFile{path};
    ADD_FAILURE() << text;
  } catch (const FileError& error) {
    const std::string said = error.what();
    EXPECT_NE(said.find(text), std::string::npos) << said;
    EXPECT_NE(said.find(part), std::string::npos) << said;
  }
}

TEST(GgufSplit, WhatDoesNotFitTogetherIsRefused) {
  const Split good;
  expect_refused(good.path(2), "-00002-of", "name the first part, 'tiny-00001-of-00003.gguf'");
  std::filesystem::rename(good.path(3), good.path(4));
  expect_refused(good.path(1), "-00003-of", "cannot be opened");
  std::filesystem::create_symlink(good.path(1), good.path(3));
  expect_refused(good.path(1), "-00003-of", "not part 3 of 3, as its name says");
  std::filesystem::rename(good.path(1), good.folder / "other.gguf");
  expect_refused(good.folder / "other.gguf", "other.gguf", "its name does not end in '-00001-of-00003.gguf'");

  const auto spoiled = [](int which, const std::function<void(GgufBuilder&)>& change) {
    return Split([=](int part, GgufBuilder& g) {
      if (part == which) change(g);
    });
  };
  const Split count = spoiled(1, [](GgufBuilder& g) { u16(g, "split.count", 4); });
  expect_refused(count.path(1), "-00002-of", "not part 2 of 3");
  const Split many = spoiled(0, [](GgufBuilder& g) { u16(g, "split.count", 60'000); });
  expect_refused(many.path(1), "-00001-of", "one of 60000 parts; at most 256 are read");
  const Split sum = spoiled(0, [](GgufBuilder& g) { g.i32("split.tensors.count", 7); });
  expect_refused(sum.path(1), "-00001-of", "7 tensors as its first part says");
  const Split twice = spoiled(2, [](GgufBuilder& g) { g.tensors[0].name = "token_embd.weight"; });
  expect_refused(twice.path(1), "-00003-of", "'token_embd.weight' stands twice");
  const Split type = spoiled(2, [](GgufBuilder& g) { g.tensors[0].type = 16; });
  expect_refused(type.path(1), "-00003-of", "IQ2_XXS");
}

}  // namespace
}  // namespace bareattn::model
