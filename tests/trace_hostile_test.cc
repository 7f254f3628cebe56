// Traces made to deceive: everything in them fits together, digest and checksums included, but they are not what this
// program writes. Each is refused by a sentence when it is opened.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "bareattn/error.h"
#include "bareattn/trace.h"
#include "base/page_sums.h"
#include "folder.h"
#include "gguf_builder.h"
#include "trace/trace_format.h"

namespace bareattn {
namespace {

using Json = nlohmann::ordered_json;

/// A trace that can be taken apart and put together again, with digest and checksums that fit.
struct Forged {
  Json header;
  std::vector<std::string> order;  // of the tensors
  std::map<std::string, std::string> data;

  explicit Forged(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(in), {}};
    uint64_t length = 0;
    std::memcpy(&length, whole.data(), 8);
    header = Json::parse(whole.substr(8, length));
    const observing::SafetensorsFile file(path);
    for (const observing::StoredTensor& t : file.tensors()) {
      order.push_back(t.name);
      data[t.name] = whole.substr(8 + length + t.begin, t.end - t.begin);
    }
  }

  void to_front(const std::string& name) {
    order.erase(std::find(order.begin(), order.end(), name));
    order.insert(order.begin(), name);
  }

  void write(const std::string& path) {
    size_t at = 0;
    std::string body;  // what stands after the checksums
    for (const std::string& name : order) {
      header[name]["data_offsets"] = {at, at + data[name].size()};
      at += data[name].size();
      if (name == "checksums")
        body.clear();
      else
        body += data[name];
    }
    std::string& sums = data["checksums"];
    for (size_t page = 0; page * base::sum_page_bytes < body.size(); ++page) {
      const std::string part = body.substr(page * base::sum_page_bytes, base::sum_page_bytes);
      const uint64_t sum = base::page_sum(0, std::as_bytes(std::span(part)));
      std::memcpy(sums.data() + 8 * page, &sum, 8);
    }
    const std::string zeros(64, '0');
    header["__metadata__"]["digest"] = zeros;
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const std::string digest = observing::trace_digest(text, zeros, std::as_bytes(std::span(sums)));
    text.replace(text.find(zeros), 64, digest);
    std::ofstream out(path, std::ios::binary);
    out << test::bytes_of<uint64_t>(text.size()) << text;
    for (const std::string& name : order) out << data[name];
  }
};

class HostileTrace : public testing::Test {
 protected:
  HostileTrace() {
    const test::TemporaryFile file(test::tiny_llama().build());
    const auto model = Model::load(file.path(), {.precision = Precision::f32, .threads = 2});
    write_trace(path_, model, test::byte_tokens(301), {}, {}, 2);
  }
  std::string refusal() const {
    try {
      const auto trace = Trace::open(path_);
      trace->verify();
      static_cast<void>(trace->tile({0, 0}, {0, 10}, {0, 10}));
    } catch (const FileError& error) {
      return error.what();
    }
    return "(accepted)";
  }
  const test::Folder folder_;
  const std::string path_ = folder_ / "run.safetensors";
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(HostileTrace, TensorsThatAreElsewhere) {
  Forged(path_).write(path_);
  EXPECT_EQ(refusal(), "(accepted)") << "nothing was changed";
  // Before the checksums, whose pages begin behind them; and bytes before wide elements, which are then at odd places.
  for (const char* name : {"text_offsets", "text", "layers.1.k"}) {
    Forged forged(path_);
    const std::vector<std::string> order = forged.order;
    forged.to_front(name);
    forged.write(path_);
    EXPECT_HAS(refusal(), "of the data; a trace has it at") << name;
    forged.to_front("checksums");
    forged.write(path_);
    const bool moved = forged.order != order;
    EXPECT_HAS(refusal(), moved ? "of the data; a trace has it at" : "(accepted)") << name;
    forged.order = order;
    forged.write(path_);
    ASSERT_EQ(refusal(), "(accepted)") << name;
  }
}

TEST_F(HostileTrace, AModelsHashIsAHash) {
  Forged forged(path_);
  std::string& hash = forged.header["__metadata__"]["model_sha256"].get_ref<std::string&>();
  ASSERT_EQ(hash.size(), 64U);
  std::string above = "../../../../etc/passwd", upper = hash;
  above.resize(64, '/');
  upper[63] = 'F';
  for (const std::string& other : {std::string(), above, upper, hash + "0", hash.substr(1), std::string(64, '\0')}) {
    hash = other;
    forged.write(path_);
    EXPECT_HAS(refusal(), "'model_sha256' is no SHA-256") << other;
  }
}

TEST_F(HostileTrace, MetadataThatAreNestedTooDeep) {
  Forged forged(path_);
  for (const char* key : {"model", "run", "spans"}) {
    Forged changed = forged;
    changed.header["__metadata__"][key] = std::string(100'000, '[') + std::string(100'000, ']');
    changed.write(path_);
    EXPECT_HAS(refusal(), "nested too deep") << key;
  }
}

}  // namespace
}  // namespace bareattn
