// What has been computed, kept up to a number of bytes; the least recently used goes first. Values are shared: one that
// is dropped while it is being sent lives until it is sent. Safe for many threads; two that miss at once both compute.
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "base/seeded_hash.h"

namespace bareattn::serving {

class Cache {
 public:
  using Value = std::shared_ptr<const std::string>;
  explicit Cache(int64_t limit) : limit_(limit) {}

  Value find(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto at = places_.find(key);
    if (at == places_.end()) return nullptr;
    order_.splice(order_.begin(), order_, at->second);
    return at->second->second;
  }

  void put(const std::string& key, Value value) {
    const std::lock_guard lock(mutex_);
    if (places_.contains(key) || cost(key, value) > limit_) return;
    bytes_ += cost(key, value);
    order_.emplace_front(key, std::move(value));
    places_[key] = order_.begin();
    while (bytes_ > limit_) {
      const auto& [old, last] = order_.back();
      bytes_ -= cost(old, last);
      places_.erase(old);
      order_.pop_back();
    }
  }

  void clear() {
    const std::lock_guard lock(mutex_);
    order_.clear();
    places_.clear();
    bytes_ = 0;
  }

  int64_t bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }
  int64_t limit() const { return limit_; }

 private:
  static int64_t cost(const std::string& key, const Value& value) {
    return static_cast<int64_t>(2 * key.size() + value->size() + 200);  // what the containers take of their own
  }
  const int64_t limit_;
  mutable std::mutex mutex_;
  std::list<std::pair<std::string, Value>> order_;  // most recently used first
  base::HashMap<std::list<std::pair<std::string, Value>>::iterator> places_;
  int64_t bytes_ = 0;
};

}  // namespace bareattn::serving
