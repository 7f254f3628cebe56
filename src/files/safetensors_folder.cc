// See safetensors_folder.h.
#include "files/safetensors_folder.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <filesystem>

#include "bareattn/error.h"
#include "base/utf8.h"

namespace bareattn::observing {
namespace {

constexpr uint64_t max_index_bytes = uint64_t{64} << 20;
constexpr size_t max_parts = 1024;  // each keeps a file open
constexpr std::string_view ending = ".safetensors";

std::string shown(std::string_view text) {
  return fmt::format("'{}{}'", base::escape_for_terminal(text.substr(0, 80)), text.size() > 80 ? "..." : "");
}

/// Letters of ASCII in lower case: what file systems that ignore case take for one name.
std::string folded(std::string_view name) {
  std::string out(name);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

bool is_part_name(std::string_view name) {
  return name.size() > ending.size() && name.ends_with(ending) && name.front() != '.' &&
         std::none_of(name.begin(), name.end(), [](char c) { return c < 0x20 || c == 0x7F || c == '/' || c == '\\'; });
}

}  // namespace

SafetensorsFolder::SafetensorsFolder(const std::string& folder) : folder_(folder) {
  namespace fs = std::filesystem;
  const auto path = [&](const char* name) { return (fs::path(folder_) / name).string(); };
  const std::string index = path("model.safetensors.index.json"), whole = path("model.safetensors");
  if (fs::exists(index) || fs::exists(whole)) {
    fs::exists(index) ? read_index(index) : open(whole);
    return;
  }
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "consolidated.00.pth"}) {
    if (!fs::exists(path(name))) continue;
    throw FileError(
        folder_, FileError::no_offset,
        fmt::format("the folder has its weights as a Python pickle ({}), which may run a stranger's code and "
                    "is not read; model.safetensors is needed",
                    name));
  }
  throw FileError(folder_, FileError::no_offset,
                  "the folder has neither model.safetensors nor model.safetensors.index.json");
}

void SafetensorsFolder::open(const std::string& path) {
  parts_.push_back(std::make_unique<const SafetensorsFile>(path));
  const SafetensorsFile& file = *parts_.back();
  for (const StoredTensor& tensor : file.tensors()) {
    const auto [at, is_new] = tensors_.emplace(tensor.name, Place{&file, &tensor});
    if (is_new) continue;
    file.fail(file.offset_of(tensor.name),
              "tensor " + shown(tensor.name) + " stands in " + at->second.file->file().path() + " as well");
  }
}

void SafetensorsFolder::read_index(const std::string& path) {
  const auto refuse = [&](const std::string& sentence) { throw FileError(path, FileError::no_offset, sentence); };
  const base::MappedFile file(path);
  if (file.size() > max_index_bytes)
    refuse(fmt::format("the index has {} bytes; at most {} are read", file.size(), max_index_bytes));
  const simdjson::padded_string text(file.text());
  file.check_unchanged();
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (const auto error = parser.parse(text).get(root))
    refuse(std::string("the index is not valid JSON: ") + simdjson::error_message(error));
  simdjson::dom::object all, map;
  if (root.get(all) != simdjson::SUCCESS) refuse("the index is not a JSON object");
  int maps = 0;
  for (const auto& [key, value] : all) {
    if (key != "weight_map") continue;
    if (++maps > 1) refuse("'weight_map' stands twice in the index");
    if (value.get(map) != simdjson::SUCCESS) refuse("'weight_map' is not an object");
  }
  if (maps == 0) refuse("the index has no 'weight_map'");

  std::map<std::string, std::string, std::less<>> part_of;  // tensor -> part
  std::map<std::string, std::string, std::less<>> parts;    // in lower case -> as it stands
  for (const auto& [tensor, value] : map) {
    std::string_view part;
    if (value.get(part) != simdjson::SUCCESS) refuse("'weight_map': the part of " + shown(tensor) + " is no text");
    if (!is_part_name(part)) {
      refuse("'weight_map': " + shown(tensor) + " is said to be in " + shown(part) +
             "; the name of a .safetensors file in the same folder is needed");
    }
    const auto [at, is_new] = parts.emplace(folded(part), part);
    if (at->second != part)
      refuse("'weight_map' names " + shown(at->second) + " and " + shown(part) + ", which differ only in case");
    if (is_new && parts.size() > max_parts) refuse(fmt::format("the index names more than {} parts", max_parts));
    if (!part_of.emplace(tensor, part).second) refuse("'weight_map': " + shown(tensor) + " stands there twice");
  }
  if (part_of.empty()) refuse("'weight_map' names no tensor");

  const std::filesystem::path base(folder_);
  for (const auto& [_, part] : parts)  // first, since the others could be blamed for it
    if (!std::filesystem::exists(base / part)) refuse("the part " + shown(part) + " is missing in the folder");
  for (const auto& [_, part] : parts) {
    open((base / part).string());
    for (const StoredTensor& tensor : parts_.back()->tensors()) {
      const auto at = part_of.find(tensor.name);
      if (at != part_of.end() && at->second == part) continue;
      parts_.back()->fail(
          parts_.back()->offset_of(tensor.name),
          "tensor " + shown(tensor.name) +
              (at == part_of.end() ? " is not in the index" : " is in " + shown(at->second) + " by the index"));
    }
  }
  for (const auto& [tensor, part] : part_of)
    if (!tensors_.contains(tensor))
      refuse("tensor " + shown(tensor) + " is not in " + shown(part) + ", as the index says");
}

}  // namespace bareattn::observing
