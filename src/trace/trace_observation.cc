// A trace read as an Observation: measures, maps and roles as run_observation.cc gives them, from the file.
#include <cmath>
#include <limits>
#include <stdexcept>

#include "bareattn/error.h"
#include "base/float_environment.h"
#include "kernels/convert.h"
#include "observe/measures.h"
#include "trace/trace_impl.h"

namespace bareattn {

using namespace observing;  // NOLINT: this file is that floor's

AttentionStatistics Trace::Impl::statistics(HeadId head) const {
  AttentionStatistics s;
  for (const RowArray& array : row_arrays(facts.shape.groups)) {
    // The map is only read; AttentionStatistics points to what may be written.
    if (array.place != nullptr)
      s.*array.place = const_cast<float*>(of_head<float>(array.name, head, length(), 0, length()).data());
    else
      s.max_key = const_cast<int32_t*>(of_head<int32_t>(array.name, head, length(), 0, length()).data());
  }
  return s;
}

const Means& Trace::Impl::means(HeadId head) const {
  check(head);
  const std::pair<int, int> key{head.layer, head.head};
  {
    const std::lock_guard lock(mutex);
    if (const auto at = means_of.find(key); at != means_of.end()) return at->second;
  }
  // Outside the lock, so that several heads can be read at once; two threads at one head find the same.
  Means made{};
  const AttentionStatistics s = statistics(head);
  for (int m = 0; m < measure_count; ++m) {
    const auto measure = static_cast<Measure>(m);
    const bool kept = file.find(source_of(measure)) != nullptr;
    double sum = 0;
    for (int64_t i = 1; kept && i < length(); ++i) sum += row_measure(measure, s, i, i);
    made[static_cast<size_t>(m)] =
        kept && length() > 1 ? sum / static_cast<double>(length() - 1) : std::numeric_limits<double>::quiet_NaN();
  }
  file.file().check_unchanged();
  const std::lock_guard lock(mutex);
  return means_of.try_emplace(key, made).first->second;
}

const Model& Trace::model() const { return impl_->traced; }
const std::vector<int32_t>& Trace::tokens() const { return impl_->tokens; }
const std::vector<std::string>& Trace::token_texts() const { return impl_->texts; }
double Trace::seconds() const { return impl_->facts.run.seconds; }
MeasureGroups Trace::measured() const { return impl_->facts.shape.groups; }
std::vector<SpanSet> Trace::span_sets() const {
  return impl_->facts.shape.span_sets == 0 ? std::vector<SpanSet>() : bareattn::span_sets(spans(), impl_->length());
}

std::vector<float> Trace::span_mass(int set, HeadId head) const {
  const TraceShape& s = impl_->facts.shape;
  if (set < 0 || set >= s.span_sets)
    throw std::invalid_argument("span set " + std::to_string(set) + ": the trace has " + std::to_string(s.span_sets));
  const auto values = impl_->of_head<float>("span_mass", head, s.span_sets * s.tokens, set * s.tokens, s.tokens);
  return impl_->whole(std::vector(values.begin(), values.end()));
}

int Trace::threads() const { return impl_->facts.run.threads; }

double Trace::mean(Measure measure, HeadId head) const {
  const base::DefaultFloatEnvironment environment;
  impl_->stored(source_of(measure));
  return impl_->means(head)[static_cast<size_t>(measure)];
}

std::vector<float> Trace::rows(Measure measure, HeadId head) const {
  const base::DefaultFloatEnvironment environment;
  impl_->stored(source_of(measure));
  const AttentionStatistics s = impl_->statistics(head);
  std::vector<float> values(static_cast<size_t>(impl_->length()));
  for (int64_t i = 0; i < impl_->length(); ++i) values[static_cast<size_t>(i)] = row_measure(measure, s, i, i);
  return impl_->whole(std::move(values));
}

std::vector<double> Trace::received(HeadId head) const {
  const auto values = impl_->of_head<double>("received", head, impl_->length(), 0, impl_->length());
  return impl_->whole(std::vector(values.begin(), values.end()));
}

std::vector<float> Trace::carried(HeadId head) const {
  const auto sizes = impl_->of_head<float>("carried", head, impl_->length(), 0, impl_->length());
  return impl_->whole(std::vector(sizes.begin(), sizes.end()));
}

std::vector<float> Trace::output_cosine(int layer) const {
  const int64_t heads = impl_->facts.shape.heads;
  const auto cosines = impl_->of_head<float>("output_cosine", {layer, 0}, heads, 0, heads * heads);
  return impl_->whole(std::vector(cosines.begin(), cosines.end()));
}

std::vector<int32_t> Trace::max_key(HeadId head) const {
  const auto keys = impl_->of_head<int32_t>("max_key", head, impl_->length(), 0, impl_->length());
  return impl_->whole(std::vector(keys.begin(), keys.end()));
}

int Trace::pool_block() const {
  impl_->stored("pool_sum");
  return impl_->facts.shape.pool_block;
}
int64_t Trace::pool_blocks() const { return impl_->facts.shape.blocks(); }

std::vector<double> Trace::pool_sum(HeadId head) const {
  const int64_t cells = impl_->facts.shape.cells();
  const auto values = impl_->of_head<double>("pool_sum", head, cells, 0, cells);
  return impl_->whole(std::vector(values.begin(), values.end()));
}

std::vector<float> Trace::pool_max(HeadId head) const {
  const int64_t cells = impl_->facts.shape.cells();
  const auto values = impl_->of_head<float>("pool_max", head, cells, 0, cells);
  return impl_->whole(std::vector(values.begin(), values.end()));
}

Role Trace::role(HeadId head) const {
  const base::DefaultFloatEnvironment environment;
  for (const char* name : {"entropy", "mean_distance", "first_mass"}) impl_->stored(name);
  return role_of(impl_->means(head), impl_->length());
}

namespace {

// Vectors [N, D] of a stored tensor as f16: as they are, or rounded once more.
std::vector<uint16_t> as_f16(std::span<const std::byte> bytes, Store store) {
  const auto count = static_cast<int64_t>(bytes.size()) / store_bytes(store);
  std::vector<uint16_t> half(static_cast<size_t>(count));
  const auto* narrow = reinterpret_cast<const uint16_t*>(bytes.data());
  if (store == Store::f16) {
    std::copy_n(narrow, count, half.begin());
  } else if (store == Store::f32) {
    kernels::f16_from_f32(reinterpret_cast<const float*>(bytes.data()), half.data(), count);
  } else {
    std::vector<float> wide(static_cast<size_t>(count));
    kernels::f32_from_bf16(narrow, wide.data(), count);
    kernels::f16_from_f32(wide.data(), half.data(), count);
  }
  return half;
}

}  // namespace

std::vector<uint16_t> Trace::q_f16(HeadId head) const {
  impl_->check(head);
  const TraceShape& s = impl_->facts.shape;
  const auto size = static_cast<uint64_t>(s.tokens * s.head_dim * store_bytes(s.store));
  const auto raw = impl_->pages.bytes(impl_->stored(q_name(head.layer)), static_cast<uint64_t>(head.head) * size, size);
  return impl_->whole(as_f16(raw, s.store));
}

std::vector<uint16_t> Trace::k_f16(int layer, int kv_head) const {
  const TraceShape& s = impl_->facts.shape;
  if (layer < 0 || layer >= s.layers || kv_head < 0 || kv_head >= s.kv_heads) {
    throw std::invalid_argument("key-value head " + std::to_string(layer) + "." + std::to_string(kv_head) +
                                ": the model has " + std::to_string(s.layers) + " layers of " +
                                std::to_string(s.kv_heads));
  }
  const auto size = static_cast<uint64_t>(s.tokens * s.head_dim * store_bytes(s.store));
  const auto raw = impl_->pages.bytes(impl_->stored(k_name(layer)), static_cast<uint64_t>(kv_head) * size, size);
  return impl_->whole(as_f16(raw, s.store));
}

}  // namespace bareattn
