// What a Trace is made of, for the two files that make its answers: trace.cc (opening, exact weights) and
// trace_observation.cc (measures, maps, roles).
#pragma once
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "bareattn/attention.h"
#include "bareattn/weights.h"
#include "observe/exact_cells.h"
#include "observe/roles.h"
#include "trace/trace_format.h"
#include "trace/trace_pages.h"

namespace bareattn {

/// The model that a trace names: what it was, not what it knew.
class TracedModel final : public Model {
 public:
  explicit TracedModel(const observing::TraceFacts& facts) : facts_(facts) {}
  const Architecture& architecture() const override { return facts_.config; }
  const Tokenizer& tokenizer() const override;
  Precision precision() const override { return facts_.precision; }
  Precision attention() const override { return facts_.attention; }
  const std::string& path() const override { return facts_.model_file; }
  int64_t parameters() const override { return facts_.parameters; }
  const std::vector<std::string>& warnings() const override { return warnings_; }
  std::string sha256() const override { return facts_.model_sha256; }

 private:
  const observing::TraceFacts& facts_;
  std::vector<std::string> warnings_;
};

struct Trace::Impl {
  explicit Impl(const std::string& path);

  int64_t length() const { return facts.shape.tokens; }
  /// Element (head, first) of a tensor [L, Hq, per head ...] and `count` from there.
  template <class T>
  std::span<const T> of_head(const char* name, HeadId head, int64_t per_head, int64_t first, int64_t count) const {
    check(head);
    const int64_t line = int64_t{head.layer} * facts.shape.heads + head.head;
    return pages.values<T>(stored(name), static_cast<uint64_t>(line * per_head + first), static_cast<uint64_t>(count));
  }
  /// What was made from the map, once it is sure that the file was there all the time (FileError).
  template <class T>
  T whole(T made) const {
    file.file().check_unchanged();
    return made;
  }
  /// InputError where the trace does not have it.
  const observing::StoredTensor& stored(const std::string& name) const;
  void check(HeadId head) const;                      // std::invalid_argument where there is no such head
  AttentionStatistics statistics(HeadId head) const;  // what row_measure reads; null where not kept
  const observing::Means& means(HeadId head) const;   // made when first asked for
  /// What steered the run, from its tensors; null where nothing did. FileError for spans that the table has not.
  std::shared_ptr<const ScoreTable> read_table() const;
  observing::CellSource source(HeadId head) const;  // of exact weights and scores; lives no longer than this

  observing::SafetensorsFile file;
  observing::TraceFacts facts;
  observing::TracePages pages;
  TracedModel traced;
  std::vector<int32_t> tokens;
  std::vector<std::string> texts;
  std::shared_ptr<const ScoreTable> table;
  ScoreRules rules;
  mutable std::mutex mutex;  // of means_of
  mutable std::map<std::pair<int, int>, observing::Means> means_of;
};

}  // namespace bareattn
