// Roles that were found stay on disk, one file per model: a line with the format and the SHA-256 of what follows, then
// the JSON. Written atomically; read with suspicion: anything odd means "not there" and is said. Where the environment
// names no place, there is no cache.
#include <cstdlib>
#include <filesystem>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/head_roles.h"
#include "base/sha256.h"

namespace bareattn {
namespace {

constexpr std::string_view mark = "bareattn-roles 1 ";
constexpr size_t hash_length = 64;
constexpr int64_t most_bytes = int64_t{64} << 20;

/// The directory, or empty. A relative XDG_CACHE_HOME counts as none, as the specification says.
std::string directory() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') return std::string(cache) + "/bareattn/roles";
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return std::string(home) + "/.cache/bareattn/roles";
  return {};
}

HeadRoles read(const std::string& path, const Model& model) {
  std::string content = read_file(path, most_bytes);
  const size_t body = mark.size() + hash_length + 1;
  if (!content.starts_with(mark) || content.size() < body || content[body - 1] != '\n') {
    throw InputError("its first line is none of this version");
  }
  const std::string hash = content.substr(mark.size(), hash_length);
  content.erase(0, body);  // what is left is not held twice
  if (base::sha256(content) != hash) {
    throw InputError("it was altered or cut short: its checksum is another one");
  }
  HeadRoles roles = roles_from_json(content);
  if (roles.model_sha256 != model.sha256()) throw InputError("it is of another model");
  if (roles.layers != model.config().layers || roles.heads != model.config().heads) {
    throw InputError("it is of a model with other layers and heads");
  }
  return roles;
}

}  // namespace

std::string roles_cache_path(const std::string& model_sha256) {
  const std::string place = directory();
  return place.empty() ? place : place + "/" + model_sha256;
}

std::optional<HeadRoles> cached_roles(const Model& model, std::string* problem) {
  const std::string place = directory();
  std::error_code error;
  if (place.empty() || std::filesystem::is_empty(place, error) || error) return {};  // spares hashing the model
  std::string path;
  try {
    path = roles_cache_path(model.sha256());
    if (!std::filesystem::exists(path, error) && !error) return {};
    return read(path, model);
  } catch (const InputError& why) {
    if (problem != nullptr) *problem = "the cached roles in " + path + " are not used: " + why.what();
  }
  return {};
}

void cache_roles(const HeadRoles& roles) {
  const std::string path = roles_cache_path(roles.model_sha256);
  if (path.empty()) throw OutputError("there is no place for cached roles: neither XDG_CACHE_HOME nor HOME is set");
  std::error_code error;
  std::filesystem::create_directories(directory(), error);
  if (error) throw OutputError(directory() + ": " + error.message());
  const std::string json = roles_to_json(roles);
  write_file(path, std::string(mark) + base::sha256(json) + "\n" + json);
}

}  // namespace bareattn
