// See routes.h.
#include "serve/routes.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <stdexcept>

#include "base/aligned.h"
#include "view/page_description.h"

namespace bareattn::serving {
namespace {

constexpr int most_top = 1000;

std::vector<std::string_view> split(std::string_view text, char by) {
  std::vector<std::string_view> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(by, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

/// A whole number as it is written: no sign, no leading zeros.
std::optional<int64_t> number(std::string_view text) {
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  if (std::to_string(value) != text) return std::nullopt;
  return value;
}

using Query = std::map<std::string_view, std::string_view>;

/// Nothing where a name is empty, not among `known`, or given twice.
std::optional<Query> query_of(std::string_view text, std::initializer_list<std::string_view> known) {
  Query query;
  if (text.empty()) return query;
  for (const std::string_view part : split(text, '&')) {
    const size_t equals = part.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string_view name = part.substr(0, equals);
    if (std::find(known.begin(), known.end(), name) == known.end()) return std::nullopt;
    if (!query.emplace(name, part.substr(equals + 1)).second) return std::nullopt;
  }
  return query;
}

/// The choice of that name, `otherwise` where it is not given, nothing where it is none of `choices`.
template <class T>
std::optional<T> choice(const Query& query, std::string_view name, T otherwise,
                        std::initializer_list<std::pair<std::string_view, T>> choices) {
  const auto at = query.find(name);
  if (at == query.end()) return otherwise;
  for (const auto& [text, value] : choices) {
    if (text == at->second) return value;
  }
  return std::nullopt;
}

Answer not_found() { return error_answer(404, "there is nothing at this address; docs/serve.md has the interface"); }
Answer bad_query() { return error_answer(400, "the part after ? is not what this address takes (docs/serve.md)"); }

Answer wrong_method(const char* allowed) {
  Answer answer = error_answer(405, std::string("this address takes ") + allowed);
  answer.headers.emplace_back("Allow", allowed);
  return answer;
}

std::optional<HeadId> head_of(const Trace& trace, std::string_view layer, std::string_view head) {
  const auto l = number(layer), h = number(head);
  const ModelConfig& config = trace.model().config();
  if (!l || !h || *l >= config.layers || *h >= config.heads) return std::nullopt;
  return HeadId{static_cast<int>(*l), static_cast<int>(*h)};
}

Answer tile(const Shown& shown, std::span<const std::string_view> at, const Query& query, const Gone& gone) {
  const auto head = head_of(shown.trace(), at[0], at[1]);
  const auto z = number(at[2]), x = number(at[3]), y = number(at[4]);
  if (!head || !z || !x || !y) return not_found();
  const auto pool =
      choice<Pool>(query, "pool", Pool::sum, {{"sum", Pool::sum}, {"max", Pool::max}, {"both", Pool::both}});
  const auto type = choice<Type>(query, "type", Type::f16, {{"f16", Type::f16}, {"f32", Type::f32}, {"u8", Type::u8}});
  const auto first = choice<bool>(query, "first", true, {{"shown", true}, {"hidden", false}});
  const auto norm = choice<Parts>(query, "norm", Parts::of_row, {{"row", Parts::of_row}, {"key", Parts::of_key}});
  const auto value = choice<bool>(query, "value", false, {{"raw", false}, {"weighted", true}});
  if (!pool || !type || !first || !norm || !value || (*value && *norm == Parts::of_key)) return bad_query();
  const Parts parts = *value ? Parts::carried : *norm;
  return shown.tile({{*head, *x, *y, *first, parts}, *z, *pool, *type}, gone);
}

Answer row(const Shown& shown, std::span<const std::string_view> at, const Query& query) {
  const auto head = head_of(shown.trace(), at[0], at[1]);
  const auto row = number(at[2]);
  if (!head || !row || *row >= static_cast<int64_t>(shown.trace().tokens().size())) return not_found();
  const auto value = choice<bool>(query, "value", false, {{"raw", false}, {"weighted", true}});
  if (!value) return bad_query();
  if (!query.contains("top")) return shown.row_weights(*head, *row, *value);
  const auto top = number(query.at("top"));
  if (!top || *top < 1 || *top > most_top) return bad_query();
  return shown.row(*head, *row, static_cast<int>(*top), *value);
}

/// Everything about the run that is shown.
Answer of_run(const Shown& shown, const Request& request, std::string_view path, std::string_view asked,
              const Gone& gone) {
  const std::vector<std::string_view> all = split(path, '/');  // "", "api", ...
  const std::span<const std::string_view> parts = std::span(all).subspan(2);
  const auto query = parts[0] == "tile"  ? query_of(asked, {"v", "pool", "type", "first", "norm", "value"})
                     : parts[0] == "row" ? query_of(asked, {"v", "top", "value"})
                                         : query_of(asked, {"v"});
  if (!query) return bad_query();
  const bool named = query->contains("v");
  if (named && query->at("v") != shown.id()) return error_answer(410, "the run of this address is no longer shown");
  const std::string etag = "\"" + shown.id() + "\"";
  Answer answer = not_found();
  if (parts.size() == 6 && parts[0] == "tile") {
    if (named && request.header("if-none-match") == etag) {
      answer = Answer();
      answer.status = 304;
    } else {
      answer = tile(shown, parts.subspan(1), *query, gone);
    }
    // Kept by the browser only under the run's own name, and only where it holds no text.
    if (named && (answer.status == 200 || answer.status == 304)) answer.etag = etag;
    return answer;
  }
  if (parts.size() == 4 && parts[0] == "row") return row(shown, parts.subspan(1), *query);
  if (parts.size() == 1 && parts[0] == "text") return shown.text();
  if (parts.size() == 2 && parts[0] == "section" && parts[1] == "thumbs") return shown.section("thumbs", {});
  if (parts.size() == 3 && parts[0] == "section" && (parts[1] == "pool" || parts[1] == "rows" || parts[1] == "keys")) {
    const auto names = split(parts[2], '.');
    if (names.size() != 2) return not_found();
    const auto head = head_of(shown.trace(), names[0], names[1]);
    return head ? shown.section(std::string(parts[1]), *head) : not_found();
  }
  if (parts.size() == 3 && parts[0] == "section" && parts[1] == "agreement") {
    const auto layer = number(parts[2]);
    return layer && *layer < shown.trace().model().config().layers ? shown.agreement(static_cast<int>(*layer), gone)
                                                                   : not_found();
  }
  if (parts.size() == 3 && parts[0] == "tileset") {
    const auto head = head_of(shown.trace(), parts[1], parts[2]);
    return head ? shown.tileset(*head) : not_found();
  }
  return answer;
}

}  // namespace

Routes::Routes(std::shared_ptr<const Shown> shown, std::shared_ptr<const Shown> against, const ServeOptions& options,
               const view::PageAssets& assets)
    : shown_(std::move(shown)),
      against_(std::move(against)),
      given_(against_),
      live_(
          options, [this] { return this->shown(); },
          [this](std::shared_ptr<const Shown> next, Live::Place place) { install(std::move(next), place); }) {
  if (assets.script.empty() || assets.style.empty())
    throw std::runtime_error("this build of bareattn has no page (it was configured with -DBAREATTN_PAGE=OFF)");
  const view::PageShell shell = view::page_shell(assets, "Attention", "connect-src 'self'; ");
  std::string html = shell.head;
  html += "<script type=\"application/json\" id=\"page-data\">{\"schema_version\":" +
          std::to_string(view::page_schema_version) + R"(,"source":{"base":"/api"}}</script>)";
  html += "\n<script>";
  html += assets.script;
  html += "</script>\n</body>\n</html>\n";
  shell_.type = "text/html; charset=utf-8";
  shell_.body = std::make_shared<const std::string>(std::move(html));
  shell_.policy = shell.policy + "; frame-ancestors 'none'";
}

std::shared_ptr<const Shown> Routes::shown() const {
  const std::lock_guard lock(mutex_);
  return shown_;
}

std::shared_ptr<const Shown> Routes::against() const {
  const std::lock_guard lock(mutex_);
  return against_;
}

void Routes::install(std::shared_ptr<const Shown> next, Live::Place place) {
  const std::lock_guard lock(mutex_);
  if (place == Live::Place::beside) {
    against_ = std::move(next);
    return;
  }
  shown_ = std::move(next);
  against_ = given_ = nullptr;  // they were over another text
}

void Routes::forget() {
  shown()->cache().clear();
  if (const auto beside = against()) beside->cache().clear();
  base::AlignedBuffer::give_back_kept();
}

Lane Routes::lane(const Request& request) {
  constexpr std::array slow = {"/api/tile/", "/api/against/tile/", "/api/section/agreement/",
                               "/api/against/section/agreement/"};
  const auto begins = [&](const char* with) { return request.target.starts_with(with); };
  return std::any_of(slow.begin(), slow.end(), begins) ? Lane::tile : Lane::quick;
}

Answer Routes::status() {
  const auto now = shown(), beside = against();
  const nlohmann::json status = {{"run", now->id()},
                                 {"connections", connections()},
                                 {"against", beside ? nlohmann::json(beside->id()) : nlohmann::json(nullptr)},
                                 {"cache_bytes", now->cache().bytes() + (beside ? beside->cache().bytes() : 0)},
                                 {"cache_limit", now->cache().limit()},
                                 {"running", live_.running()}};
  return json_answer(200, status.dump());
}

Answer Routes::change(const Request& request, const std::string& path) {
  if (path == "/api/run") return request.method == "POST" ? live_.start(request) : live_.cancel();
  if (path != "/api/leave") return wrong_method("GET");
  if (request.method != "POST") return wrong_method("POST");
  // The body is the name that the page gave itself; a run that it steered goes with it.
  if (live_.left(request.body.substr(0, 64))) {
    const std::lock_guard lock(mutex_);
    against_ = given_;
  }
  forget();
  return json_answer(200, "{}");
}

Answer Routes::answer(const Request& request, const Gone& gone) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._=&?-").find(c) != std::string_view::npos;
  };
  if (!std::all_of(request.target.begin(), request.target.end(), plain))
    return error_answer(400, "an address here has letters, digits and /._=&?- only, and no escapes");
  const size_t mark = std::min(request.target.find('?'), request.target.size());
  const std::string path = request.target.substr(0, mark);
  const std::string_view asked = std::string_view(request.target).substr(std::min(mark + 1, request.target.size()));
  if (path == "/") return request.method != "GET" ? wrong_method("GET") : asked.empty() ? shell_ : bad_query();
  if (!path.starts_with("/api/")) return not_found();
  if (request.method != "GET") return asked.empty() ? change(request, path) : bad_query();
  if (path == "/api/run") return asked.empty() ? live_.state() : bad_query();
  if (path == "/api/status") return asked.empty() ? status() : bad_query();
  if (path == "/api/leave") return wrong_method("POST");
  constexpr std::string_view second = "/api/against/";
  if (!path.starts_with(second)) return of_run(*shown(), request, path, asked, gone);
  const auto beside = against();
  if (!beside) return error_answer(404, "no second run is shown");
  return of_run(*beside, request, "/api/" + path.substr(second.size()), asked, gone);
}

}  // namespace bareattn::serving
