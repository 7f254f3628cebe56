// See page_select.h.
#include "view/page_select.h"

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

#include "bareattn/error.h"
#include "base/thread_pool.h"

namespace bareattn::view {
namespace {

void check_heads(const ModelConfig& config, const std::vector<HeadId>& heads, const char* argument) {
  for (const HeadId id : heads) {
    if (id.layer < 0 || id.layer >= config.layers || id.head < 0 || id.head >= config.heads) {
      throw std::invalid_argument(std::string(argument) + ": head " + head_name(id) + " was given, the model has " +
                                  std::to_string(config.layers) + " layers of " + std::to_string(config.heads) +
                                  " heads, counted from 0");
    }
  }
}

struct Job {
  std::string name;
  Bytes bytes;
  Pack pack;
};

std::vector<Section> pack_all(base::ThreadPool& pool, const std::vector<Job>& jobs) {
  std::vector<Section> sections(jobs.size());
  pool.run(static_cast<int64_t>(jobs.size()), [&](int64_t i, int) {
    const Job& job = jobs[static_cast<size_t>(i)];
    sections[static_cast<size_t>(i)] = {job.name, deflate_base64(job.bytes, job.pack)};
  });
  return sections;
}

int64_t total(const std::vector<Section>& sections) {
  int64_t bytes = 0;
  for (const Section& section : sections) bytes += section.size();
  return bytes;
}

/// The pooled maps of all heads at one layout, thumbnails first.
void pack_pools(base::ThreadPool& pool, const Observation& observation, PageContent& content) {
  const int64_t tokens = static_cast<int64_t>(observation.tokens().size());
  const ModelConfig& config = observation.model().config();
  content.thumbs.clear();
  std::vector<Job> jobs(1);
  std::map<std::pair<int, int>, Bytes> thumbs;
  for (const HeadId id : content.telling) {
    const PooledMap map = pooled_map(observation, id, content.layout);
    jobs.push_back({"pool/" + head_name(id), pool_bytes(map), Pack::text});
    thumbs[{id.layer, id.head}] = thumb_bytes(map, content.layout, tokens);
  }
  for (int layer = 0; layer < config.layers; ++layer) {
    for (int head = 0; head < config.heads; ++head) {
      const Bytes& thumb = thumbs.at({layer, head});
      content.thumbs.insert(content.thumbs.end(), thumb.begin(), thumb.end());
    }
  }
  const int64_t merge = thumb_merge(content.layout);
  content.thumb_size = (content.layout.blocks + merge - 1) / merge;
  jobs[0] = {"thumbs", content.thumbs, Pack::text};
  content.sections = pack_all(pool, jobs);
}

/// The measures along the edges of these heads, in their order.
std::vector<Section> pack_rows(base::ThreadPool& pool, const Observation& observation,
                               const std::vector<HeadId>& heads) {
  std::vector<Job> jobs;
  for (const HeadId id : heads) jobs.push_back({"rows/" + head_name(id), row_bytes(observation, id), Pack::text});
  return pack_all(pool, jobs);
}

/// Each head's edge measures beside its map: both are read when the head is opened.
void put_rows_beside_maps(PageContent& content, std::vector<Section> rows) {
  std::vector<Section> ordered;
  for (size_t i = 0; i < content.sections.size(); ++i) {
    ordered.push_back(std::move(content.sections[i]));
    if (i > 0 && content.has_rows) ordered.push_back(std::move(rows[i - 1]));
  }
  content.sections = std::move(ordered);
}

int first_merge(const Observation& observation, int64_t budget, int64_t heads) {
  // Codes shrink to about half; the rest of the budget is better spent on exact heads than on finer blocks.
  for (int merge = 1;; merge *= 2) {
    const int64_t blocks = pool_layout(observation, merge).blocks;
    if (blocks <= 16 || (blocks <= 2048 && heads * blocks * blocks * 2 / 3 < budget / 2)) return merge;
  }
}

/// Adds exact heads in order while they fit (or all of them, where they were asked for by name).
void add_exact(base::ThreadPool& pool, const Observation& observation, PageContent& content, int64_t room,
               const std::vector<HeadId>& asked) {
  const ModelConfig& config = observation.model().config();
  const int group = config.heads / std::max(config.kv_heads, 1);
  const std::vector<HeadId>& wanted = asked.empty() ? content.telling : asked;
  std::set<std::pair<int, int>> keys_in, heads_in;
  const size_t batch = static_cast<size_t>(pool.size()) * 2;
  for (size_t start = 0; start < wanted.size(); start += batch) {
    std::vector<HeadId> heads;
    std::vector<Job> jobs;
    std::map<std::pair<int, int>, size_t> key_job;
    std::vector<size_t> q_job;
    for (size_t i = start; i < std::min(wanted.size(), start + batch); ++i) {
      const HeadId id = wanted[i];
      if (!heads_in.insert({id.layer, id.head}).second) continue;
      if (observation.q_f16(id).empty()) {
        if (asked.empty()) return;
        throw std::invalid_argument("PageOptions.exact: head " + head_name(id) +
                                    " cannot be exact: the observation kept no Q and K (ObservationOptions.keep_qk)");
      }
      const std::pair<int, int> kv{id.layer, id.head / group};
      if (!keys_in.contains(kv) && !key_job.contains(kv)) {
        key_job[kv] = jobs.size();
        jobs.push_back({"k/" + std::to_string(kv.first) + "." + std::to_string(kv.second),
                        k_bytes(observation, kv.first, kv.second), Pack::half_floats});
      }
      heads.push_back(id);
      q_job.push_back(jobs.size());
      jobs.push_back({"q/" + head_name(id), q_bytes(observation, id), Pack::half_floats});
      jobs.push_back({"keys/" + head_name(id), key_bytes(observation, id), Pack::half_floats});
    }
    std::vector<Section> packed = pack_all(pool, jobs);
    for (size_t i = 0; i < heads.size(); ++i) {
      const std::pair<int, int> kv{heads[i].layer, heads[i].head / group};
      const bool needs_keys = !keys_in.contains(kv);
      const int64_t cost =
          packed[q_job[i]].size() + packed[q_job[i] + 1].size() + (needs_keys ? packed[key_job.at(kv)].size() : 0);
      // The first that does not fit ends it: a later, smaller one would put the order of telling upside down.
      if (asked.empty() && cost > room) return;
      room -= cost;
      if (needs_keys) content.sections.push_back(std::move(packed[key_job.at(kv)]));
      keys_in.insert(kv);
      content.sections.push_back(std::move(packed[q_job[i]]));
      content.sections.push_back(std::move(packed[q_job[i] + 1]));
      content.exact.push_back(heads[i]);
      content.has_sizes = jobs[q_job[i] + 1].bytes.size() == 8 * observation.tokens().size();
    }
  }
}

}  // namespace

std::vector<HeadId> telling_order(const Observation& observation, const std::vector<HeadId>& given) {
  const ModelConfig& config = observation.model().config();
  check_heads(config, given, "PageOptions.telling");
  std::vector<HeadId> order;
  std::set<std::pair<int, int>> in;
  for (const HeadId id : given) {
    if (in.insert({id.layer, id.head}).second) order.push_back(id);
  }
  std::map<std::string, std::vector<std::pair<double, HeadId>>> by_role;
  for (int layer = 0; layer < config.layers; ++layer) {
    for (int head = 0; head < config.heads; ++head) {
      if (in.contains({layer, head})) continue;
      const Role role = observation.role({layer, head});
      by_role[role.name].push_back({role.score, {layer, head}});
    }
  }
  size_t longest = 0;
  for (auto& [name, heads] : by_role) {
    std::stable_sort(heads.begin(), heads.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    longest = std::max(longest, heads.size());
  }
  for (size_t place = 0; place < longest; ++place) {
    for (const auto& [name, heads] : by_role) {
      if (place < heads.size()) order.push_back(heads[place].second);
    }
  }
  return order;
}

PageContent choose_content(const Observation& observation, const PageOptions& options, int64_t fixed_size) {
  const ModelConfig& config = observation.model().config();
  check_heads(config, options.exact, "PageOptions.exact");
  if (options.pooled_only && !options.exact.empty()) {
    throw std::invalid_argument("PageOptions.exact names " + std::to_string(options.exact.size()) +
                                " heads, but pooled_only wants none exact");
  }
  const int64_t room = options.size_budget - fixed_size;
  base::ThreadPool pool;
  PageContent content;
  content.telling = telling_order(observation, options.telling);
  std::vector<Section> rows = pack_rows(pool, observation, content.telling);
  if (total(rows) > room / 2) {
    rows.clear();
    content.has_rows = false;
  }
  const int64_t left = room - total(rows);
  int merge = first_merge(observation, left, static_cast<int64_t>(content.telling.size()));
  for (;; merge *= 2) {
    content.layout = pool_layout(observation, merge);
    pack_pools(pool, observation, content);
    const int64_t pools = total(content.sections);
    if (pools <= left) break;
    if (content.layout.blocks <= 4) {
      throw InputError("the page needs " + std::to_string(fixed_size + total(rows) + pools) +
                       " bytes even with the coarsest maps; the size budget is " + std::to_string(options.size_budget));
    }
  }
  const int64_t used = total(content.sections) + total(rows);
  put_rows_beside_maps(content, std::move(rows));
  if (!options.pooled_only) add_exact(pool, observation, content, room - used, options.exact);
  return content;
}

PageContent same_content(const Observation& against, const PageContent& first) {
  base::ThreadPool pool;
  PageContent content;
  content.telling = first.telling;
  content.layout = first.layout;
  content.has_rows = first.has_rows;
  pack_pools(pool, against, content);
  std::vector<Section> rows;
  if (content.has_rows) rows = pack_rows(pool, against, content.telling);
  put_rows_beside_maps(content, std::move(rows));
  if (!first.exact.empty()) add_exact(pool, against, content, 0, first.exact);
  for (Section& section : content.sections) section.name = "against/" + section.name;
  return content;
}

}  // namespace bareattn::view
