// What finished rows give to each key and to the pooled map: weights in fixed point, added up. The strip of a tile is
// not read again when its rows are finished but when the next tile is about to write there, block by block. At 8,192
// keys a strip is 3 MB, more than L2 keeps: so it comes from L3 once instead of twice, and while the blend is at work,
// which asks for the next block of it.
#pragma once
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "attention/run.h"
#include "kernels/kernels.h"

namespace bareattn::attend {

inline constexpr int64_t tile_height = 96;
inline constexpr int64_t groups = tile_height / kernels::tile_rows;  // of rows that go through a block together
// Of the rows of a strip, an odd number of cache lines: at a multiple of 4 KB they would share the same few L1 sets.
inline constexpr int64_t strip_stride = kernels::block_keys + kernels::lanes;

struct TileRow {
  int64_t head;  // query head
  int64_t row;   // of the call
};

class OwedKeys {
 public:
  /// Rows that have just been finished. factor and padded are the caller's, and given back with other contents.
  struct Rows {
    const Sequence* sequence;       // until all is paid
    std::span<std::mutex> locks;    // [Hq], the same
    std::span<const TileRow> rows;  // ordered by head
    const float* sum;               // [rows]: a row whose sum is not a number gives nothing; its own measures show it
    float* strip;                   // [blocks, tile_height, strip_stride]
    int64_t first_block, blocks;
  };
  void take(const Rows& rows, std::vector<float>& factor, std::vector<int64_t>& padded);
  /// Block `block` of those taken last (relative to the first), if it is owed; blocks are paid in order.
  void pay(int64_t block);
  void pay_all();
  void forget() { blocks_ = 0; }
  /// Where rows from e on of that block lie, if it is owed, to be asked for ahead of pay(); else null.
  const float* ahead(int64_t block, int64_t e) const {
    return block < blocks_ ? strip_ + (block * tile_height + e) * strip_stride : nullptr;
  }

 private:
  struct Piece {  // rows of one head and one row of the pooled map
    int64_t begin, end, head, pool_row;
  };
  struct Finished {  // rows of one block
    const float* const* p;
    const float* factor;  // to units of 2^-27
    int count;
    int64_t keys;
  };
  void pay(const Piece& piece, int64_t block) const;
  void pool_finely(const Piece& piece, int64_t first_key, const Finished& rows) const;
  void pool(const Piece& piece, int64_t first_key, int64_t cells, uint32_t* sum, float* max) const;

  const Sequence* sequence_ = nullptr;
  std::span<std::mutex> locks_;
  float* strip_ = nullptr;
  int64_t first_block_ = 0, blocks_ = 0, next_ = 0;  // blocks [next_, blocks_) are owed
  std::vector<Piece> pieces_;
  std::vector<uint8_t> counts_;  // [rows]
  std::vector<float> factor_;    // [blocks, tile_height]: weight = strip * factor
  std::vector<int64_t> padded_;  // [blocks, groups]: keys of each group's strip that are in use
};

}  // namespace bareattn::attend
