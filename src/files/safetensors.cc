// Reading: see safetensors.h. The header is copied out of the file first, so that nothing can change under the parser.
#include "files/safetensors.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <utility>

#include "bareattn/error.h"
#include "base/checked.h"
#include "base/utf8.h"

namespace bareattn::observing {
namespace {

constexpr size_t max_rank = 16;

constexpr std::array<std::pair<std::string_view, int>, 20> types{{
    {"BOOL", 8},    {"U8", 8},      {"I8", 8},   {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F4", 4},
    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U16", 16}, {"I16", 16},    {"F16", 16},    {"BF16", 16},   {"U32", 32},
    {"I32", 32},    {"F32", 32},    {"U64", 64}, {"I64", 64},    {"F64", 64},    {"C64", 64},
}};

std::string shown(std::string_view text) {
  return "'" + base::escape_for_terminal(text.substr(0, 64)) + (text.size() > 64 ? "...'" : "'");
}

std::string described(std::string_view begin) {
  if (begin.starts_with("GGUF")) return "; it is a GGUF file";
  if (begin.starts_with("PK\x03\x04")) return "; it is a zip archive (a PyTorch checkpoint, perhaps)";
  if (begin.starts_with("\x80\x02") || begin.starts_with("\x80\x04")) return "; it is a Python pickle";
  if (begin.starts_with("\x1f\x8b")) return "; it is gzip-compressed";
  if (begin.starts_with("<")) return "; it looks like an HTML page";
  return "";
}

}  // namespace

int bits_of(std::string_view dtype) {
  const auto at = std::find_if(types.begin(), types.end(), [&](const auto& type) { return type.first == dtype; });
  return at == types.end() ? 0 : at->second;
}

void SafetensorsFile::fail(int64_t offset, const std::string& sentence) const {
  throw FileError(file_.path(), offset, sentence);
}

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path) {
  std::array<std::byte, 8> prefix{};
  if (file_.size() < prefix.size()) {
    fail(0, "the file has " + std::to_string(file_.size()) + " bytes; a safetensors file has at least 8");
  }
  file_.read_at(0, prefix);
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<uint64_t>(prefix[static_cast<size_t>(i)]);
  const std::string_view begin(reinterpret_cast<const char*>(prefix.data()), prefix.size());
  if (length > file_.size() - 8) {
    fail(0, "the header's length is " + std::to_string(length) + ", but only " + std::to_string(file_.size() - 8) +
                " bytes follow: no safetensors file, or cut short" + described(begin));
  }
  if (length > max_header_bytes) {
    fail(0, "the header's length is " + std::to_string(length) + "; at most " + std::to_string(max_header_bytes) +
                " are accepted" + described(begin));
  }
  header_.resize(length);
  file_.read_at(8, std::as_writable_bytes(std::span(header_)));
  data_begin_ = 8 + length;
  parse();
  check_layout();
  file_.check_unchanged();
}

int64_t SafetensorsFile::offset_of(std::string_view name) const {
  const size_t at = header_.find("\"" + std::string(name) + "\"");
  return 8 + static_cast<int64_t>(at == std::string::npos ? 0 : at);
}

void SafetensorsFile::parse() {
  const size_t first = header_.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) fail(8, "the header is empty; a JSON object is needed");
  if (header_[first] != '{') {
    fail(8 + static_cast<int64_t>(first), "the header begins with " + shown(header_.substr(first, 4)) +
                                              "; a JSON object is needed, which begins with '{'");
  }
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (const auto error = parser.parse(header_).get(root)) {
    if (error == simdjson::MEMALLOC) throw std::bad_alloc();
    fail(8, std::string("the header is not valid JSON: ") + simdjson::error_message(error));
  }
  simdjson::dom::object object;
  if (root.get(object) != simdjson::SUCCESS) fail(8, "the header is not a JSON object");

  const auto unsigned_of = [&](simdjson::dom::element value, const std::string& name, const char* what) {
    uint64_t number = 0;
    if (value.get(number) != simdjson::SUCCESS || !value.is_uint64()) {
      fail(offset_of(name), "tensor " + shown(name) + ": " + what + " holds " + shown(simdjson::minify(value)) +
                                "; a whole number from 0 to 2^63 - 1 is needed");
    }
    if (!std::in_range<int64_t>(number)) {
      fail(offset_of(name), "tensor " + shown(name) + ": " + what + " holds " + std::to_string(number) +
                                "; at most 2^63 - 1 is accepted");
    }
    return number;
  };
  const auto read_metadata = [&](simdjson::dom::element value) {
    simdjson::dom::object entries;
    if (value.get(entries) != simdjson::SUCCESS) fail(offset_of("__metadata__"), "'__metadata__' is not an object");
    for (const auto& [key, text] : entries) {
      std::string_view string;
      if (text.get(string) != simdjson::SUCCESS) {
        fail(offset_of("__metadata__"), "'__metadata__': " + shown(key) + " is no string");
      }
      if (!metadata_.emplace(key, string).second) {
        fail(offset_of("__metadata__"), "'__metadata__': " + shown(key) + " stands there twice");
      }
    }
  };
  const auto read_tensor = [&](const std::string& name, simdjson::dom::element value) {
    StoredTensor tensor;
    tensor.name = name;
    simdjson::dom::object fields;
    if (value.get(fields) != simdjson::SUCCESS) fail(offset_of(name), "tensor " + shown(name) + " is not an object");
    bool seen[3] = {};
    const auto once = [&](int field, std::string_view key) {
      if (std::exchange(seen[field], true))
        fail(offset_of(name), "tensor " + shown(name) + ": " + shown(key) + " stands there twice");
    };
    for (const auto& [key, field] : fields) {
      if (key == "dtype") {
        once(0, key);
        std::string_view dtype;
        if (field.get(dtype) != simdjson::SUCCESS || bits_of(dtype) == 0) {
          fail(offset_of(name), "tensor " + shown(name) + ": its type is " + shown(simdjson::minify(field)) +
                                    "; a type of the format is needed, such as \"F32\"");
        }
        tensor.dtype = dtype;
      } else if (key == "shape") {
        once(1, key);
        simdjson::dom::array dims;
        if (field.get(dims) != simdjson::SUCCESS)
          fail(offset_of(name), "tensor " + shown(name) + ": its shape is no array");
        for (const auto dim : dims) {
          if (tensor.shape.size() == max_rank)
            fail(offset_of(name),
                 "tensor " + shown(name) + ": it has more than " + std::to_string(max_rank) + " dimensions");
          tensor.shape.push_back(static_cast<int64_t>(unsigned_of(dim, name, "its shape")));
        }
      } else if (key == "data_offsets") {
        once(2, key);
        simdjson::dom::array ends;
        if (field.get(ends) != simdjson::SUCCESS || ends.size() != 2)
          fail(offset_of(name), "tensor " + shown(name) + ": data_offsets is no pair of numbers");
        tensor.begin = unsigned_of(ends.at(0).value_unsafe(), name, "data_offsets");
        tensor.end = unsigned_of(ends.at(1).value_unsafe(), name, "data_offsets");
      }
    }
    constexpr const char* names[3] = {"dtype", "shape", "data_offsets"};
    for (int field = 0; field < 3; ++field)
      if (!seen[field]) fail(offset_of(name), "tensor " + shown(name) + " has no " + names[field]);
    tensors_.push_back(std::move(tensor));
  };

  bool has_metadata = false;
  for (const auto& [key, value] : object) {
    const std::string name(key);
    if (name == "__metadata__") {
      if (std::exchange(has_metadata, true)) fail(offset_of(name), "'__metadata__' stands there twice");
      read_metadata(value);
    } else {
      read_tensor(name, value);
    }
  }
}

void SafetensorsFile::check_layout() {
  const uint64_t data = file_.size() - data_begin_;
  for (const StoredTensor& t : tensors_) {
    const std::string subject = "tensor " + shown(t.name) + ": ";
    if (t.begin > t.end || t.end > data) {
      fail(offset_of(t.name), subject + "data_offsets are [" + std::to_string(t.begin) + ", " + std::to_string(t.end) +
                                  "]; the file has data for [0, " + std::to_string(data) + "]");
    }
    try {
      const base::CheckedSize bits =
          base::CheckedSize::product(std::span<const int64_t>(t.shape), "shape") * bits_of(t.dtype);
      if (bits.divide_exactly(8).value() != t.bytes()) {
        fail(offset_of(t.name), subject + "its shape needs " + std::to_string(bits.value() / 8) +
                                    " bytes, its data_offsets give " + std::to_string(t.bytes()));
      }
    } catch (const base::SizeError& error) {
      fail(offset_of(t.name), subject + error.what());
    }
  }
  std::stable_sort(tensors_.begin(), tensors_.end(), [](const StoredTensor& a, const StoredTensor& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t at = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const StoredTensor& t = tensors_[i];
    if (!index_.emplace(t.name, i).second) fail(offset_of(t.name), "tensor " + shown(t.name) + " stands there twice");
    if (t.begin != at) {
      fail(offset_of(t.name),
           "tensor " + shown(t.name) + ": its data begin at " + std::to_string(t.begin) +
               (t.begin < at ? ", inside another tensor that ends at " : ", but what stands before it ends at ") +
               std::to_string(at));
    }
    at = t.end;
  }
  if (at != data) {
    fail(static_cast<int64_t>(data_begin_ + at),
         "the tensors end here, but the file has " + std::to_string(data - at) + " bytes more");
  }
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
  const auto at = index_.find(name);
  return at == index_.end() ? nullptr : &tensors_[at->second];
}

std::span<const std::byte> SafetensorsFile::bytes(const StoredTensor& tensor) const {
  return file_.bytes().subspan(data_begin_ + tensor.begin, tensor.bytes());
}

}  // namespace bareattn::observing
