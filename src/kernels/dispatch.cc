// The only file that names instruction sets: which table a machine gets, and the environment variable that overrides.
#include <hwy/highway.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backward.h"
#include "kernels/fast.h"

namespace bareattn::kernels {
namespace {

struct Candidate {
  int64_t targets;  // what Highway may choose from
  const char* name;
};
constexpr Candidate candidates[] = {{HWY_AVX3 | HWY_AVX3_DL, "avx512"}, {HWY_AVX2, "avx2"}, {HWY_NEON, "neon"}};

bool has_bf16_dot() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw");
#else
  return false;
#endif
}

std::vector<KernelTable> make_tables() {
  std::vector<KernelTable> all;
  const int64_t supported = hwy::SupportedTargets();
  for (const Candidate& candidate : candidates) {
    if ((supported & candidate.targets) == 0) continue;
    hwy::SetSupportedTargetsForTest(supported & candidate.targets);
    hwy::GetChosenTarget().Update(supported & candidate.targets);
    const KernelTable* table = fast_table();
    if (table != nullptr && std::string_view(table->name) == candidate.name) {
      all.push_back(*table);
      all.back().backward = fast_backward();
    }
    if (!all.empty() && std::string_view(all.back().name) == "avx512" && has_bf16_dot()) use_bf16_avx512(all.back());
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  all.push_back(reference_table());
  return all;
}

const std::vector<KernelTable>& all_tables() {
  static const std::vector<KernelTable> tables = make_tables();
  return tables;
}

const KernelTable& choose() {
  const char* wanted = std::getenv("BAREATTN_ISA");
  if (wanted == nullptr || *wanted == 0) return all_tables().front();
  std::string known;
  for (const KernelTable& table : all_tables()) {
    if (std::string_view(table.name) == wanted) return table;
    known += (known.empty() ? "" : ", ") + std::string(table.name);
  }
  throw std::invalid_argument("BAREATTN_ISA is '" + std::string(wanted) + "'; this CPU can run: " + known);
}

}  // namespace

static std::atomic<const KernelTable*> forced{nullptr};

const KernelTable& table() {
  const KernelTable* override = forced.load(std::memory_order_relaxed);
  if (override != nullptr) return *override;
  static const KernelTable& chosen = choose();
  return chosen;
}

void set_table_for_test(const KernelTable* table) { forced.store(table, std::memory_order_relaxed); }

int tables(const KernelTable* out[], int capacity) {
  int count = 0;
  for (const KernelTable& table : all_tables())
    if (count < capacity) out[count++] = &table;
  return count;
}

}  // namespace bareattn::kernels
