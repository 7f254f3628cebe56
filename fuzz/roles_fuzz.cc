// libFuzzer on found roles, as the cache holds them. The first byte chooses: the rest as it is; or a right file with
// bytes of it exchanged, cut out or doubled, so that what is behind the first fields is reached. What is taken must
// come back the same from what is written of it. Refused with an InputError, or usable; anything else is a finding.
#include <cstdlib>
#include <string>

#include "bareattn/error.h"
#include "bareattn/head_roles.h"
#include "roles/name_roles.h"

namespace {

using namespace bareattn;

std::string whole() {
  HeadRoles roles;
  roles.model_sha256 = std::string(64, 'a');
  roles.precision = "f32";
  roles.layers = roles.heads = 2;
  roles.samples = 4;
  roles.threads = 1;
  for (int i = 0; i < 4; ++i) {
    HeadRole role;
    for (size_t r = 0; r < recipe_count; ++r) role.scores[r] = {0.25 * i, 0.1 * i, 0.3 * i};
    observing::name_role(role);
    roles.of_head.push_back(role);
  }
  AblationCheck check;
  check.heads = {{1, 0}};
  check.repeat_random = {1.5, 2.5};
  roles.ablation = check;
  return roles_to_json(roles);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string right = whole();
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string text = rest;
  if (data[0] % 2 != 0) {  // records of two bytes of place, one of what to do, one of content
    text = right;
    for (size_t i = 0; i + 4 <= rest.size() && !text.empty(); i += 4) {
      const auto byte = [&](size_t k) { return static_cast<size_t>(static_cast<uint8_t>(rest[i + k])); };
      const size_t at = (byte(0) | byte(1) << 8) % text.size();
      if (byte(2) % 3 == 0) text[at] = rest[i + 3];
      if (byte(2) % 3 == 1) text.erase(at, byte(3));
      if (byte(2) % 3 == 2) text.insert(at, text.substr(at, byte(3)));
    }
  }
  try {
    const std::string written = roles_to_json(roles_from_json(text));
    if (roles_to_json(roles_from_json(written)) != written) std::abort();
  } catch (const InputError&) {
  }
  return 0;
}
