// One tile: up to tile_height rows (of one head in prefill, of a whole head group in decode) against all keys that they
// see. It holds the strip of weights and the state of every row while blocks are merged. One per worker, reused.
#pragma once
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "attention/owed_keys.h"
#include "attention/run.h"
#include "base/aligned.h"
#include "kernels/kernels.h"

namespace bareattn::attend {

class Tile {
 public:
  /// O of the rows (all of one key-value head), and what was asked of their statistics. What they give to the keys is
  /// added while the next tile is computed, or by finish(); `locks` [Hq] guard those sums, which several workers add
  /// to.
  void compute(const Sequence& sequence, std::span<const TileRow> rows, std::span<std::mutex> locks);
  void finish() { owed_.pay_all(); }
  void forget() { owed_.forget(); }  // where an earlier call came to no end

  /// The same in two steps, for few rows and many keys (decode): blocks [first, last) of the keys leave their states in
  /// `partial` [blocks of the cache][partial_floats], by any worker in any order; join() merges them in order. No
  /// statistics. The bits are those of compute().
  static int64_t partial_floats(const Sequence& sequence);
  void compute_blocks(const Sequence& sequence, std::span<const TileRow> rows, int64_t first, int64_t last,
                      float* partial);
  void join(const Sequence& sequence, std::span<const TileRow> rows, const float* partial);

 private:
  struct Seen {
    int64_t begin, end;  // keys that a row sees
  };
  void prepare(const Sequence& sequence, std::span<const TileRow> rows);  // all but the queries
  void load_queries(const Sequence& sequence, int64_t first);             // of the group that begins at `first`
  /// A group of up to 6 rows [e, e + rows) against one block: what each row sees of it, and their union.
  struct Group {
    int64_t e, rows, index;
    Seen all;
    Seen one[kernels::tile_rows];
    int64_t padded;  // keys of the strip's block that are in use, a multiple of 16
  };
  Group group(int64_t e, int64_t index) const;
  void scores(const Sequence& sequence, const KvBlock& kv, const Group& group);
  void modify(const Sequence& sequence, const Group& group);
  void softmax(const Group& group);
  void see_nothing(const Group& group);
  void blend(const Sequence& sequence, const KvBlock& kv, const Group& group, float* o);  // o [rows, ldv]
  void block(const Sequence& sequence, const KvBlock& kv, const Group& group, float* o);  // all of the above
  void merge(const Sequence& sequence, const Group& group, const float* max, const float* sum, const float* o);
  struct Output {
    int64_t dv, ldv;
    float* o;
  };
  void blend_bf16(const KvBlock& kv, const Group& group, const Output& to);
  void blend_careful(const Sequence& sequence, const KvBlock& kv, const Group& group, int64_t r, float* o);
  void join_sinks(const Sequence& sequence);
  void expect_output(const Sequence& sequence, const Group& group) const;
  void write_output(const Sequence& sequence);
  void observe(const Sequence& sequence, std::span<std::mutex> locks);
  /// Of the rows, finished and dense: their state, and before the last rounding ln of the sum, -sum w ln w, sum w^2,
  /// sum w (position - key), and the strongest key.
  struct Finished {
    float max[tile_height], sum[tile_height];
    double log_sum[tile_height], entropy[tile_height], squares[tile_height], distance[tile_height];
    int32_t max_key[tile_height];
  };
  void join(const Sequence& sequence, Finished& rows);
  void row_statistics(const Sequence& sequence, const Finished& rows);
  void add_recent(double* recent, int64_t back) const;
  void visit(const Sequence& sequence) const;      // tile_visit.cc
  void prepare_columns(const Sequence& sequence);  // tile_columns.cc
  void sum_columns(const Sequence& sequence, const Group& group);
  void column_statistics(const Sequence& sequence, int64_t e);

  float* strip(int64_t e, int64_t index) const;  // weights of row e in block `index`
  Seen within(int64_t e, int64_t index) const;   // what row e sees of the block, relative to it; empty: strip not made
  float weight(int64_t e, int64_t key) const;    // finished weight of one key, 0 where it is not seen
  float factor(int64_t e, int64_t index) const {
    return factor_[static_cast<size_t>((index - first_block_) * tile_height + e)];
  }

  kernels::BlockStates states(int64_t block) const;  // of a block, relative to the first
  int64_t kv_head(const Sequence& sequence) const;
  static int64_t state_of(int64_t e) { return e / kernels::tile_rows * kernels::lanes + e % kernels::tile_rows; }

  const kernels::KernelTable* kernels_ = nullptr;
  std::vector<TileRow> rows_;
  int64_t window_ = -1, leading_keys_ = 0;  // ScoreTerms'
  int64_t count_ = 0, first_row_ = 0, first_block_ = 0, blocks_ = 0;
  bool modify_ = false;
  bool measure_ = false;       // statistics of some kind are wanted
  bool measure_rows_ = false;  // and some that are sums over a row's keys
  bool keep_ = false;          // the whole strip stays for observe()
  mutable base::AlignedBuffer
      strip_;  // [blocks, tile_height, strip_stride], or [6, strip_stride] where nothing is kept
  base::AlignedBuffer q_, o_, block_o_;                          // [rows, D] scaled; [rows, ldv]; [6, ldv]
  std::vector<uint16_t> q16_, p16_;                              // bf16: [rows, D], not scaled; [6, 512 + 16]
  std::vector<float> scale_;                                     // [rows]
  std::vector<Seen> seen_;                                       // [rows]
  mutable base::AlignedBuffer states_;                           // [6, blocks, tile_height], see states()
  std::vector<float> max_, sum_;                                 // [groups, 16], row e at state_of(e)
  std::vector<float> a_, b_;                                     // [16]: merge factors of the group at hand
  float group_max_[kernels::lanes], group_sum_[kernels::lanes];  // its state over the block at hand
  std::vector<float> factor_;                                    // [blocks, tile_height]: weight = strip * factor
  int64_t columns_ = 0, column_block_ = -1;  // columns summed beside V (padded), and the block whose values are there
  base::AlignedBuffer column_values_;        // [512, columns_]
  base::AlignedBuffer column_sums_;          // [blocks, rows, columns_]: of the strip, before factor_
  std::vector<int64_t> padded_;              // [blocks, groups]: keys of each group's strip that are in use
  OwedKeys owed_;                            // what the rows of the tile before still give to the keys
  const float* ahead_ = nullptr;             // what the blend at hand asks for
};

}  // namespace bareattn::attend
