// What a trace file holds: the tensors and their order, and the metadata, both ways. Writer and reader share this one
// description; docs/trace.md is the same for people. A change that an old reader would misread raises trace_version.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "bareattn/trace.h"
#include "files/safetensors.h"
#include "observe/measures.h"

namespace bareattn::observing {

inline constexpr int trace_version = 2;
inline constexpr int oldest_trace_version = 1;  // without "scores": scale 1 / sqrt(D), causal, nothing else

struct TraceShape {
  int layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int64_t tokens = 0, text_bytes = 0;
  int pool_block = 0;  // 0: no map
  MeasureGroups groups;
  int span_sets = 0;                 // whose weight is kept
  int row_spans = 0, key_spans = 0;  // of the table that steered the run; 0: none
  Store store = Store::f16;
  int64_t blocks() const { return pool_block == 0 ? 0 : (tokens + pool_block - 1) / pool_block; }
  int64_t cells() const { return blocks() * (blocks() + 1) / 2; }
};

/// Every tensor, in the order of the file; the first is the checksums of all that follows it.
std::vector<StoredTensor> trace_tensors(const TraceShape& shape);
std::string q_name(int layer);
std::string k_name(int layer);
int64_t store_bytes(Store store);

struct TraceFacts {
  TraceShape shape;
  Architecture config;
  Precision precision = Precision::f32, attention = Precision::f32;
  int64_t parameters = 0;
  std::string model_file, model_sha256, engine, title;
  TraceRun run;
  std::vector<NamedSpan> spans;
};

using Metadata = std::map<std::string, std::string>;
Metadata metadata_of(const TraceFacts& facts);
/// FileError where the file is no trace, of a newer version, or says what cannot be; then its tensors are not the
/// announced ones or it was cut.
TraceFacts read_facts(const SafetensorsFile& file);

/// The digest that stands in the metadata under "digest": SHA-256 of the header with 64 zeros in the digest's place,
/// then of the checksums.
std::string trace_digest(std::string header, const std::string& digest, std::span<const std::byte> checksums);

}  // namespace bareattn::observing
