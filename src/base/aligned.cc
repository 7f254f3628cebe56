// See aligned.h.
#include "base/aligned.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace bareattn::base {
namespace {

constexpr size_t huge = size_t{2} << 20;

#if defined(__linux__)
constexpr size_t kept_limit = size_t{128} << 20;

struct Block {
  std::byte* data;
  size_t bytes;
};

// Never destroyed: threads may let memory go after main has returned.
struct Kept {
  std::mutex mutex;
  std::vector<Block> blocks;  // the oldest first
  size_t bytes = 0;
};
Kept& kept() {
  static auto* const one = new Kept;
  return *one;
}

std::byte* take_kept(size_t bytes) {
  Kept& all = kept();
  std::lock_guard lock(all.mutex);
  for (size_t i = all.blocks.size(); i-- > 0;)
    if (all.blocks[i].bytes == bytes) {
      std::byte* const data = all.blocks[i].data;
      all.blocks.erase(all.blocks.begin() + static_cast<std::ptrdiff_t>(i));
      all.bytes -= bytes;
      return data;
    }
  return nullptr;
}

void keep(Block block) {
  Kept& all = kept();
  std::lock_guard lock(all.mutex);
  try {
    all.blocks.push_back(block);
    all.bytes += block.bytes;
  } catch (const std::bad_alloc&) {
    munmap(block.data, block.bytes);
  }
  while (all.bytes > kept_limit) {
    all.bytes -= all.blocks.front().bytes;
    munmap(all.blocks.front().data, all.blocks.front().bytes);
    all.blocks.erase(all.blocks.begin());
  }
}

std::byte* map(size_t bytes) {
  void* const at = mmap(nullptr, bytes + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  auto* const begin = static_cast<std::byte*>(at);
  const size_t skip = (huge - reinterpret_cast<uintptr_t>(begin) % huge) % huge;
  if (skip != 0) munmap(begin, skip);
  munmap(begin + skip + bytes, huge - skip);
  // A wish: refused, all works as before. Whole pages only: a last one would take 2 MB for what little is in it.
  madvise(begin + skip, bytes / huge * huge, MADV_HUGEPAGE);
  return begin + skip;
}
#endif

}  // namespace

AlignedBuffer::AlignedBuffer(size_t bytes, Contents contents) : bytes_(bytes) {
  if (bytes > SIZE_MAX - 2 * huge) throw std::bad_alloc();
  const size_t room = (bytes + 127) / 64 * 64;
#if defined(__linux__)
  if (bytes >= huge) {
    constexpr size_t page = 4096;
    const size_t whole = (room + page - 1) / page * page;
    std::byte* old = take_kept(whole);
    data_ = {old == nullptr ? map(whole) : old, Free{whole}};
    if (old != nullptr && contents == Contents::zero) std::memset(old, 0, whole);
    return;
  }
#endif
  data_ = {static_cast<std::byte*>(std::aligned_alloc(64, room)), Free{0}};
  if (!data_) throw std::bad_alloc();
  if (contents == Contents::zero) std::memset(data_.get(), 0, room);
}

void AlignedBuffer::Free::operator()(std::byte* p) const {
#if defined(__linux__)
  if (mapped != 0) return keep({p, mapped});
#endif
  std::free(p);
}

size_t AlignedBuffer::kept_bytes() {
#if defined(__linux__)
  std::lock_guard lock(kept().mutex);
  return kept().bytes;
#else
  return 0;
#endif
}

void AlignedBuffer::give_back_kept() {
#if defined(__linux__)
  Kept& all = kept();
  std::lock_guard lock(all.mutex);
  for (const Block& block : all.blocks) munmap(block.data, block.bytes);
  all.blocks.clear();
  all.bytes = 0;
#endif
}

}  // namespace bareattn::base
