// safetensors files: what the format allows loads, everything else is refused by a sentence with an offset, quickly and
// without taking memory; what the writer streams in any order, the reader reads.
#include "files/safetensors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "bareattn/error.h"
#include "folder.h"
#include "gguf_builder.h"  // TemporaryFile, bytes_of

namespace bareattn::observing {
namespace {

using test::bytes_of;
using test::TemporaryFile;

std::string file_with(const std::string& header, const std::string& data = "") {
  return bytes_of<uint64_t>(header.size()) + header + data;
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& ends) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + ends + "}";
}

void expect_refused(const std::string& what, const std::string& content, const std::string& part) {
  const TemporaryFile file(content);
  const auto start = std::chrono::steady_clock::now();
  try {
    const SafetensorsFile read(file.path());
    ADD_FAILURE() << what << ": was accepted";
  } catch (const FileError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find(part), std::string::npos) << what << ": " << text;
    EXPECT_TRUE(text.starts_with(file.path() + ": offset ")) << what << ": " << text;
    EXPECT_LT(text.size(), file.path().size() + 600) << what;
    for (const char c : text) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << what << ": " << text;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1)) << what;
}

TEST(Safetensors, WhatTheFormatAllowsLoads) {
  const std::pair<std::string, std::string> files[] = {
      {"{}", ""},
      {"  \n{}\t ", ""},
      {R"({"__metadata__":{}})", ""},
      {R"({"__metadata__":{"a":"b"},)" + tensor("x", "F32", "[]", "[0,4]") + "}", "abcd"},
      {"{" + tensor("x", "F32", "[0]", "[0,0]") + "}", ""},
      {"{" + tensor("x", "U8", "[2]", "[0,2]") + "," + tensor("e", "F32", "[3,0]", "[2,2]") + "," +
           tensor("f", "I64", "[0]", "[2,2]") + "}",
       "ab"},
      {"{" + tensor("b", "U8", "[1]", "[2,3]") + "," + tensor("a", "BF16", "[1]", "[0,2]") + "}  ", "abc"},
      {"{" + tensor("x", "F4", "[2,3]", "[0,3]") + "}", "abc"},
      {R"({"x":{"dtype":"U8","extra":[1,{}],"shape":[1],"data_offsets":[0,1]}})", "a"},
      {"{" + tensor("\\u00e4", "U8", "[1]", "[0,1]") + "}", "a"},
  };
  for (const auto& [header, data] : files) {
    const TemporaryFile file(file_with(header, data));
    EXPECT_NO_THROW(SafetensorsFile read(file.path())) << header;
  }
}

TEST(Safetensors, ReadsWhatIsThere) {
  const TemporaryFile file(file_with(R"({"__metadata__":{"k":"v"},)" + tensor("b", "U8", "[1,2]", "[4,6]") + "," +
                                         tensor("a", "I32", "[1]", "[0,4]") + "}",
                                     bytes_of<int32_t>(-7) + "xy"));
  const SafetensorsFile read(file.path());
  ASSERT_EQ(read.tensors().size(), 2U);
  EXPECT_EQ(read.tensors()[0].name, "a");
  EXPECT_EQ(read.metadata().at("k"), "v");
  int32_t value = 0;
  std::memcpy(&value, read.bytes(*read.find("a")).data(), 4);
  EXPECT_EQ(value, -7);
  EXPECT_EQ(read.find("b")->shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(read.find("c"), nullptr);
}

TEST(Safetensors, LengthPrefix) {
  expect_refused("empty file", "", "at least 8");
  expect_refused("7 bytes", "1234567", "at least 8");
  expect_refused("length 0", bytes_of<uint64_t>(0), "the header is empty");
  expect_refused("length past the file", bytes_of<uint64_t>(100) + "{}", "only 2 bytes follow");
  expect_refused("length 2^63", bytes_of<uint64_t>(uint64_t{1} << 63) + "{}", "9223372036854775808");
  expect_refused("length 2^64 - 1", bytes_of<uint64_t>(~uint64_t{0}) + "{}", "18446744073709551615");
  expect_refused("long header", bytes_of<uint64_t>(5 << 20) + std::string(5 << 20, ' '), "at most 4194304");
  expect_refused("GGUF", "GGUF\3\0\0\0" + std::string(100, 'x'), "GGUF file");
  expect_refused("zip", "PK\3\4" + std::string(100, 'x'), "zip archive");
  expect_refused("pickle", "\x80\2" + std::string(100, 'x'), "pickle");
  expect_refused("gzip", "\x1f\x8b" + std::string(100, 'x'), "gzip");
  expect_refused("HTML", "<!DOCTYPE html>" + std::string(100, 'x'), "HTML");
}

TEST(Safetensors, Header) {
  expect_refused("array", file_with("[]"), "JSON object");
  expect_refused("number", file_with("12"), "JSON object");
  expect_refused("BOM", file_with("\xEF\xBB\xBF{}"), "begins with '{'");
  expect_refused("not UTF-8", file_with("{\"\xff\":{}}"), "not valid JSON");
  expect_refused("cut", file_with("{\"a\":"), "not valid JSON");
  expect_refused("bytes after", file_with("{}x"), "not valid JSON");
  expect_refused("two objects", file_with("{}{}"), "not valid JSON");
  expect_refused("NUL after", file_with(std::string("{}\0", 3)), "not valid JSON");
  const std::string deep(100'000, '[');
  expect_refused("depth", file_with("{\"a\":" + deep + std::string(100'000, ']') + "}"), "not valid JSON");
  std::string nested;
  for (int i = 0; i < 100'000; ++i) nested += "{\"a\":";
  expect_refused("deep objects", file_with(nested + "1" + std::string(100'000, '}')), "not valid JSON");
}

TEST(Safetensors, Duplicates) {
  const std::string a = tensor("a", "U8", "[1]", "[0,1]");
  expect_refused("tensor", file_with("{" + a + "," + a + "}", "x"), "twice");
  expect_refused("escaped", file_with("{" + a + "," + tensor("\\u0061", "U8", "[0]", "[1,1]") + "}", "x"), "twice");
  expect_refused("metadata", file_with(R"({"__metadata__":{},"__metadata__":{}})"), "twice");
  expect_refused("metadata key", file_with(R"({"__metadata__":{"a":"1","a":"2"}})"), "twice");
  expect_refused("field", file_with(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x"),
                 "twice");
}

TEST(Safetensors, Offsets) {
  const auto one = [](const std::string& ends, const std::string& data) {
    return file_with("{" + tensor("a", "U8", "[2]", ends) + "}", data);
  };
  const auto two = [](const std::string& first, const std::string& second, const std::string& data) {
    return file_with("{" + tensor("a", "U8", "[2]", first) + "," + tensor("b", "U8", "[2]", second) + "}", data);
  };
  expect_refused("hole before", one("[1,3]", "abc"), "ends at 0");
  expect_refused("hole between", two("[0,2]", "[3,5]", "abcde"), "ends at 2");
  expect_refused("hole after", one("[0,2]", "abc"), "1 bytes more");
  expect_refused("overlap", two("[0,2]", "[1,3]", "abc"), "inside another tensor");
  expect_refused("the same", two("[0,2]", "[0,2]", "ab"), "inside another tensor");
  expect_refused("reversed", one("[2,0]", "ab"), "[2, 0]");
  expect_refused("negative", one("[-2,0]", "ab"), "'-2'");
  expect_refused("float", one("[0.0,2.0]", "ab"), "whole number");
  expect_refused("1e30", one("[0,1e30]", "ab"), "whole number");
  expect_refused("2^63", one("[0,9223372036854775808]", "ab"), "2^63 - 1");
  expect_refused("2^64", one("[0,18446744073709551616]", "ab"), "");
  expect_refused("past the end", one("[0,2]", "a"), "[0, 1]");
  expect_refused("three", one("[0,1,2]", "ab"), "no pair");
  expect_refused("one", one("[0]", "ab"), "no pair");
  expect_refused("strings", one(R"(["0","2"])", "ab"), "whole number");
  expect_refused("no array", one("2", "ab"), "no pair");
  expect_refused("data without tensors", file_with("{}", "ab"), "2 bytes more");
}

TEST(Safetensors, Shapes) {
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& ends,
                      const std::string& data) { return file_with("{" + tensor("a", dtype, shape, ends) + "}", data); };
  expect_refused("overflow", one("F32", "[4294967296,4294967296]", "[0,0]", ""), "64 bits");
  expect_refused("overflow beside a zero", one("F32", "[0,4611686018427387904,4]", "[0,0]", ""), "64 bits");
  expect_refused("bits overflow", one("F64", "[2305843009213693952]", "[0,0]", ""), "64 bits");
  expect_refused("negative", one("F32", "[-1]", "[0,4]", "abcd"), "'-1'");
  expect_refused("2^53 + 1 as float", one("F32", "[9007199254740993.0]", "[0,4]", "abcd"), "whole number");
  expect_refused("bool", one("F32", "[true]", "[0,4]", "abcd"), "whole number");
  expect_refused("null", one("F32", "null", "[0,4]", "abcd"), "no array");
  expect_refused("does not fit", one("F32", "[2]", "[0,4]", "abcd"), "needs 8 bytes");
  expect_refused("half a byte", one("F4", "[3]", "[0,1]", "a"), "remainder");
  expect_refused("rank", one("U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]", "a"), "16 dimensions");
}

TEST(Safetensors, FieldsAndTypes) {
  expect_refused("unknown type", file_with("{" + tensor("a", "F99", "[0]", "[0,0]") + "}"), "F99");
  expect_refused("type with escapes", file_with("{" + tensor("a", "\\u001b[31m", "[0]", "[0,0]") + "}"), "type");
  expect_refused("type is a number", file_with(R"({"a":{"dtype":1,"shape":[0],"data_offsets":[0,0]}})"), "'1'");
  expect_refused("no type", file_with(R"({"a":{"shape":[0],"data_offsets":[0,0]}})"), "has no dtype");
  expect_refused("no shape", file_with(R"({"a":{"dtype":"U8","data_offsets":[0,0]}})"), "has no shape");
  expect_refused("no offsets", file_with(R"({"a":{"dtype":"U8","shape":[0]}})"), "has no data_offsets");
  expect_refused("no object", file_with(R"({"a":3})"), "not an object");
  expect_refused("metadata number", file_with(R"({"__metadata__":{"a":1}})"), "no string");
  expect_refused("metadata null", file_with(R"({"__metadata__":{"a":null}})"), "no string");
  expect_refused("metadata array", file_with(R"({"__metadata__":[]})"), "not an object");
  expect_refused("name with escapes", file_with("{\"\\u001b[31m\\n\":3}"), "\\x1b[31m\\n");
}

TEST(Safetensors, EveryCutIsRefused) {
  const std::string whole = file_with("{" + tensor("a", "F32", "[2]", "[0,8]") + "}", "abcdefgh");
  for (size_t size = 0; size < whole.size(); ++size)
    expect_refused("cut at " + std::to_string(size), whole.substr(0, size), "");
}

TEST(Safetensors, NoRegularFile) {
  EXPECT_THROW(SafetensorsFile("/dev/zero"), FileError);
  EXPECT_THROW(SafetensorsFile("/"), FileError);
  EXPECT_THROW(SafetensorsFile("/nonexistent"), FileError);
}

std::vector<std::byte> bytes(const std::string& text) {
  const auto* from = reinterpret_cast<const std::byte*>(text.data());
  return {from, from + text.size()};
}

TEST(SafetensorsWriter, PartsInAnyOrder) {
  const test::Folder folder;
  const std::string path = folder / "a.safetensors";
  {
    SafetensorsWriter writer(path, {{"x", "F64", {2}}, {"none", "F32", {0, 3}}, {"y", "U8", {2, 2}}}, {{"k", ""}});
    writer.write(writer.tensor("y"), 2, bytes("cd"));
    writer.write(writer.tensor("x"), 8, bytes("ijklmnop"));
    writer.write(writer.tensor("x"), 0, bytes("abcdefgh"));
    EXPECT_THROW(writer.write(writer.tensor("x"), 9, bytes("abcdefgh")), InputError);
    EXPECT_THROW((void)writer.tensor("z"), std::out_of_range);
    EXPECT_FALSE(std::filesystem::exists(path));
    writer.commit({{"k", "a \"quoted\" value \u00e4"}});
  }
  const SafetensorsFile read(path);
  EXPECT_EQ(read.metadata().at("k"), "a \"quoted\" value \u00e4");
  EXPECT_EQ(read.data_begin() % 64, 0U);
  const auto text = [&](const char* name) {
    const auto part = read.bytes(*read.find(name));
    return std::string(reinterpret_cast<const char*>(part.data()), part.size());
  };
  EXPECT_EQ(text("x"), "abcdefghijklmnop");
  EXPECT_EQ(text("y"), std::string("\0\0cd", 4));
  EXPECT_EQ(folder.entries(), 1);
}

TEST(SafetensorsWriter, LeavesNothingWithoutCommit) {
  const test::Folder folder;
  { SafetensorsWriter writer(folder / "a", {{"x", "F64", {2}}}, {}); }
  EXPECT_EQ(folder.entries(), 0);
  EXPECT_THROW(SafetensorsWriter(folder / "a", {}, {{"k", std::string(5 << 20, 'x')}}), InputError);
  EXPECT_THROW(SafetensorsWriter("/nonexistent/a", {}, {}), OutputError);
  EXPECT_EQ(folder.entries(), 0);
}

// A limit on the size of files stands for a full disk: write fails with EFBIG where a disk gives ENOSPC.
TEST(SafetensorsWriter, FullDisk) {
  const test::Folder folder;
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{4096, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_THROW(SafetensorsWriter(folder / "a", {{"x", "F64", {1000}}}, {}), OutputError);
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(folder.entries(), 0);
}

}  // namespace
}  // namespace bareattn::observing
