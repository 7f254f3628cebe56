// The weights of a Hugging Face folder: one file, several with an index, and every way in which the two can disagree or
// point elsewhere.
#include "files/safetensors_folder.h"

#include <gtest/gtest.h>

#include <fstream>

#include "bareattn/error.h"
#include "folder.h"

namespace bareattn::observing {
namespace {

void write(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

void part(const std::string& path, const std::vector<std::string>& names) {
  std::vector<StoredTensor> tensors;
  for (const auto& name : names) tensors.push_back({name, "F32", {2}});
  SafetensorsWriter writer(path, tensors, {});
  writer.commit({});
}

std::string index_of(const std::string& map) { return R"({"metadata":{"total_size":24},"weight_map":{)" + map + "}}"; }

constexpr const char* two_parts = R"("a":"m-1.safetensors","b":"m-1.safetensors","c":"m-2.safetensors")";

struct TwoParts {
  test::Folder folder;
  explicit TwoParts(const std::string& map = two_parts) {
    part(folder / "m-1.safetensors", {"a", "b"});
    part(folder / "m-2.safetensors", {"c"});
    write(folder / "model.safetensors.index.json", index_of(map));
  }
  std::string path() const { return folder / "."; }
};

void expect_refused(const std::string& path, const std::string& text) {
  try {
    SafetensorsFolder{path};
    ADD_FAILURE() << text;
  } catch (const FileError& error) {
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

TEST(SafetensorsFolder, OneFileOrParts) {
  const test::Folder one;
  part(one / "model.safetensors", {"x", "y"});
  EXPECT_EQ(SafetensorsFolder(one / ".").tensors().size(), 2U);
  const TwoParts two;
  const SafetensorsFolder folder(two.path());
  ASSERT_EQ(folder.tensors().size(), 3U);
  EXPECT_EQ(folder.parts().size(), 2U);
  EXPECT_EQ(folder.tensors().at("c").tensor->name, "c");
  EXPECT_EQ(folder.tensors().at("c").file, folder.parts()[1].get());
}

TEST(SafetensorsFolder, LinksAreFollowedAsTheCacheHasThem) {
  const test::Folder blobs, snapshot;
  part(blobs / "0123abcd", {"x"});
  std::filesystem::create_symlink(blobs / "0123abcd", snapshot / "model.safetensors");
  EXPECT_EQ(SafetensorsFolder(snapshot / ".").tensors().size(), 1U);
}

TEST(SafetensorsFolder, WhatIndexAndPartsMustSay) {
  const auto with = [](const std::string& map) { return std::make_unique<TwoParts>(map); };
  const std::string rest = R"(,"b":"m-1.safetensors","c":"m-2.safetensors")";
  for (const char* name : {"../m-1.safetensors", "/etc/m.safetensors", "x/m-1.safetensors", "..", "", ".safetensors",
                           "m-1.bin", "C:\\\\m-1.safetensors", "m\\u0000.safetensors", ".m-1.safetensors"})
    expect_refused(with(std::string(R"("a":")") + name + '"' + rest)->path(), "a .safetensors file in the same folder");
  expect_refused(with(R"("a":"m-9.safetensors")" + rest)->path(), "'m-9.safetensors' is missing");
  expect_refused(with(R"("a":"M-1.safetensors")" + rest)->path(), "differ only in case");
  expect_refused(with(R"("a":3)" + rest)->path(), "is no text");
  expect_refused(with(R"("a":"m-2.safetensors")" + rest)->path(), "'a' is in 'm-2.safetensors' by the index");
  expect_refused(with(rest.substr(1))->path(), "'a' is not in the index");
  expect_refused(with(std::string(two_parts) + R"(,"d":"m-2.safetensors")")->path(), "'d' is not in 'm-2.safetensors'");
  expect_refused(with(std::string(two_parts) + R"(,"a":"m-1.safetensors")")->path(), "'a' stands there twice");
  expect_refused(with("")->path(), "names no tensor");
  const auto raw = [](const std::string& index) {
    auto folder = std::make_unique<TwoParts>();
    write(folder->folder / "model.safetensors.index.json", index);
    return folder;
  };
  expect_refused(raw("")->path(), "not valid JSON");
  expect_refused(raw("[]")->path(), "not a JSON object");
  expect_refused(raw("{}")->path(), "no 'weight_map'");
  expect_refused(raw(R"({"weight_map":[]})")->path(), "not an object");
  expect_refused(raw(R"({"weight_map":{},"weight_map":{}})")->path(), "stands twice");
  expect_refused(raw(std::string(100'000, '['))->path(), "not valid JSON");

  const TwoParts twice;
  part(twice.folder / "m-2.safetensors", {"c", "a"});
  expect_refused(twice.path(), "'a' stands in");
  const TwoParts no_file;
  std::filesystem::remove(no_file.folder / "m-2.safetensors");
  std::filesystem::create_directory(no_file.folder / "m-2.safetensors");
  expect_refused(no_file.path(), "m-2.safetensors");
}

TEST(SafetensorsFolder, PicklesAreRefusedByName) {
  const test::Folder folder;
  expect_refused(folder / ".", "neither model.safetensors nor");
  write(folder / "pytorch_model.bin", "PK");
  expect_refused(folder / ".", "Python pickle (pytorch_model.bin)");
}

}  // namespace
}  // namespace bareattn::observing
