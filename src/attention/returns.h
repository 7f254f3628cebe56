// Top keys and selected full rows, collected while a tile's weights are there.
#pragma once
#include "attention/call.h"

namespace bareattn::attend {

/// Whether anything is wanted that only a visitor sees; then also what is 0 or -1 where nothing is seen is written.
bool wants_rows(const Call& call);
void clear_rows(const Call& call);

class RowCollector final : public RowVisitor {
 public:
  /// Rows of the piece from `skip` on.
  RowCollector(const Call& call, const Piece& piece, int64_t skip) : call_(call), piece_(piece), skip_(skip) {}
  bool wants(int64_t head, int64_t row) const override;
  void see(int64_t head, int64_t row, int64_t first_key, std::span<const float> weights) override;

 private:
  int64_t full_index(int64_t row) const;  // in full_rows, or -1
  const Call& call_;
  const Piece& piece_;
  int64_t skip_;
};

/// The statistics of a piece's rows from `skip` on: the batch entry's, moved to where they stand.
AttentionStatistics statistics_of(const Call& call, const Piece& piece, int64_t skip);

}  // namespace bareattn::attend
