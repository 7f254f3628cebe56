// The terminal summary of `look`: facts of the run, what the heads do by role, the heads to look at first, and where
// the last token looks, in the text itself. Colour adds to it; every statement also stands in words and numbers.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "bareattn/files.h"
#include "bareattn/highlights.h"
#include "reports/agreement_report.h"
#include "reports/look_report.h"
#include "reports/second_look.h"
#include "reports/sweep_json.h"

namespace bareattn::cli {
namespace {

struct RoleLine {
  const char* name;
  const char* meaning;
};
constexpr std::array<RoleLine, 6> role_lines{{
    {"first-token", "rest on the first token: nothing to add"},
    {"previous-token", "look at the token just before"},
    {"self", "look at the token itself"},
    {"local", "stay within the last few words"},
    {"broad", "spread over the whole text"},
    {"mixed", "none of these leads"},
}};

constexpr int label_width = 10;

// A token's text on one line: newlines as an arrow, tabs as spaces, all else that could act on the terminal spelled
// out.
std::string one_line(std::string_view text) {
  std::string shown;
  for (const char c : text) c == '\n' ? shown += "↵" : shown += c == '\t' || c == '\r' ? ' ' : c;
  return printable(shown);
}

// At most `width` columns; what is cut off leaves a sign.
std::string cut(const std::string& text, int width) {
  return columns(text) <= width ? text : std::string(prefix(text, width - 1)) + "…";
}
std::string cut_before(const std::string& text, int width) {
  return columns(text) <= width ? text : "…" + std::string(suffix(text, width - 1));
}

class Summary {
 public:
  Summary(const LookReport& report, const Terminal& terminal)
      : report_(report),
        o_(*report.observation),
        terminal_(terminal),
        length_(static_cast<int64_t>(o_.tokens().size())) {}

  std::string text() {
    facts();
    roles();
    known();
    telling();
    spans();
    agreement();
    second_look();
    last();
    if (!report_.page.empty()) {
      out_ += '\n';
      // The path stays in one piece, however long: it is there to be copied.
      out_ += bold(terminal_, padded("Page", label_width)) + printable(report_.page) +
              fmt::format("\n{:{}}{:.1f} MB: open it in a browser\n", "", label_width,
                          static_cast<double>(report_.page_bytes) / 1e6);
    }
    return out_;
  }

 private:
  void heading(const std::string& title, const std::string& note = {}) {
    out_ += '\n' + bold(terminal_, title);
    if (!note.empty()) {
      const int used = columns(title) + 2;
      out_ += "  " + dim(terminal_, wrapped(note, terminal_.width, 2, used));
    }
    out_ += '\n';
  }

  // A label and what is said of it, beside it or, where that would leave too little room for words, below.
  void labelled(const std::string& label, const std::string& text) {
    constexpr int least = 24, below = 4;
    const int beside = columns(label);
    if (terminal_.width - beside >= least)
      out_ += label + wrapped(text, terminal_.width, beside, beside) + '\n';
    else
      out_ += label + '\n' + std::string(below, ' ') + wrapped(text, terminal_.width, below, below) + '\n';
  }

  void fact(const std::string& label, const std::string& value) {
    out_ +=
        bold(terminal_, padded(label, label_width)) + wrapped(value, terminal_.width, label_width, label_width) + '\n';
  }

  void facts() {
    const ModelConfig& c = o_.model().config();
    const std::string origin = report_.origin.empty() ? "" : " of " + printable(report_.origin);
    fact("Text", fmt::format("{} token{}{}", grouped(length_), length_ == 1 ? "" : "s", origin));
    fact("Model",
         fmt::format("{}, {}, {} layers of {} heads", printable(c.name), printable(c.file_type), c.layers, c.heads));
    const double seconds = o_.seconds();
    fact("Run", fmt::format("{:.2f} s, {} tokens/s, {} thread{}, {}", seconds,
                            grouped(static_cast<int64_t>(std::lround(static_cast<double>(length_) / seconds))),
                            o_.threads(), o_.threads() == 1 ? "" : "s", precision_text(o_.model())));
  }

  void roles() {
    if (length_ < 2 || !o_.measured().for_roles()) return;
    const ModelConfig& c = o_.model().config();
    std::array<int, role_lines.size()> counts{};
    for (int layer = 0; layer < c.layers; ++layer) {
      for (int head = 0; head < c.heads; ++head) {
        const std::string role = o_.role({layer, head}).name;
        for (size_t r = 0; r < role_lines.size(); ++r) counts[r] += role == role_lines[r].name ? 1 : 0;
      }
    }
    heading(fmt::format("What the {} heads do", c.layers * c.heads), "on average over this text");
    const int most = *std::max_element(counts.begin(), counts.end());
    const int room = std::clamp(terminal_.width - 66, 6, 24);
    for (size_t r = 0; r < role_lines.size(); ++r) {
      std::string bar;
      for (int i = 0; i < (counts[r] * room + most - 1) / std::max(most, 1); ++i) bar += "▇";
      labelled(fmt::format("  {} {:>4}  {}  ", padded(role_lines[r].name, 15), counts[r], padded(bar, room)),
               role_lines[r].meaning);
    }
  }

  // Roles that look at nothing in particular would fill the list; they are in `bareattn roles` and the JSON.
  void known() {
    if (report_.roles == nullptr) {
      untested();
      return;
    }
    heading("What they are for", "tested by bareattn roles, not on this text");
    for (int r = 0; r <= static_cast<int>(Recipe::copying); ++r) {
      const RecipeInfo& info = recipe_info(static_cast<Recipe>(r));
      const std::vector<HeadId> heads = heads_of(*report_.roles, static_cast<Recipe>(r));
      if (heads.empty()) continue;
      constexpr size_t most = 8;
      std::string list;
      for (size_t i = 0; i < std::min(heads.size(), most); ++i) list += (i == 0 ? "" : ", ") + head_name(heads[i]);
      if (heads.size() > most) list += fmt::format(" and {} more", heads.size() - most);
      labelled("  " + padded(info.id, 17), list + ": " + info.meaning);
    }
  }

  // One text cannot show what a head is for: said once, where it is not known yet.
  void untested() {
    if (length_ < 2) return;
    out_ += "  " +
            wrapped(
                "Which heads do induction, retrieval or copying is not seen in one text: bareattn roles -m MODEL "
                "tests it, once a model.",
                terminal_.width, 2, 2) +
            '\n';
  }

  void telling() {
    if (!o_.measured().for_roles() || !o_.measured().columns) return;
    const auto shown = highlights(o_);
    if (shown.empty()) return;
    constexpr int title_width = 26, head_width = 7;
    heading("Heads to look at first", "layer.head, both from 0");
    for (const Highlight& h : shown) {
      labelled("  " + padded(h.title, title_width) + bold(terminal_, padded(head_name(h.head), head_width)),
               one_line(h.evidence) + recipe_note(h.head));
    }
  }

  std::string recipe_note(HeadId head) const {
    if (report_.roles == nullptr || report_.roles->of(head).all.empty()) return {};
    return "; by the recipes: " + report_.roles->of(head).name;
  }

  void spans() {
    const auto looks = span_looks(o_);
    if (looks.empty()) return;
    heading("Weight on named spans", "average of all heads, over the tokens that can see some of it");
    for (const SpanLook& look : looks) {
      const auto share = [](double x) {
        return std::isfinite(x) ? fmt::format("{:.1f} %", 100 * x) : std::string("-");
      };
      std::string line = fmt::format("{} on {} token{}; the last token {}", share(look.mean), grouped(look.set.tokens),
                                     look.set.tokens == 1 ? "" : "s", share(look.last));
      if (look.strongest.layer >= 0)
        line += fmt::format("; most: head {} {}", head_name(look.strongest), share(look.most));
      labelled("  " + padded(cut(one_line(look.set.name), 15), 16), line);
    }
  }

  void agreement() {
    if (!report_.agreement || report_.agreement->rows == 0) return;
    constexpr int shown = 4;
    heading("Heads of a layer beside each other",
            fmt::format("{} of {} tokens compared; JS 0 is alike, 0.693 nothing in common",
                        grouped(report_.agreement->rows), grouped(length_)));
    for (const PairRanking& ranking : rank_pairs(*report_.agreement, shown)) {
      std::string list;
      for (const HeadPair& p : ranking.pairs) {
        const std::string output =
            std::isnan(p.output_cosine) ? std::string() : fmt::format(", output {:+.2f}", p.output_cosine);
        list += fmt::format("{}{}.{} and {} (JS {:.2f}{})", list.empty() ? "" : "; ", p.layer, p.a, p.b, p.js, output);
      }
      out_ += "  " + wrapped(ranking.title + ": " + list, terminal_.width, 4, 2) + '\n';
    }
  }

  void second_look() {
    if (!report_.sweep || report_.sweep->rows == 0) return;
    heading("By a second look", fmt::format("means over {} of {} tokens, from Q and K in {}",
                                            grouped(report_.sweep->rows), grouped(length_), store_of(o_)));
    for (const auto& [label, text] : second_look_lines(*report_.sweep, report_.swept))
      labelled("  " + padded(label, 20), text);
  }

  // The text around a token, cut to `width` columns, the token itself marked.
  std::string around(int32_t key, int width, double strength) {
    const auto& texts = o_.token_texts();
    std::string token = one_line(texts[key]);
    token = cut(token, width / 2);
    const int side = (width - columns(token) - 2) / 2;
    std::string before, after;
    for (int64_t j = key - 1; j >= 0 && columns(before) <= side; --j) before = one_line(texts[j]) + before;
    for (int64_t j = key + 1; j < length_ && columns(after) <= side; ++j) after += one_line(texts[j]);
    const std::string mark = "‹" + heat(terminal_, token, std::max(strength, 0.2)) + "›";
    return padded_left(cut_before(before, side), side) + mark + cut(after, side);
  }

  void last() {
    const LastLook& look = report_.last;
    const int64_t last = length_ - 1;
    const std::string token = cli::quoted(one_line(o_.token_texts()[last]));
    if (report_.value_weighted)
      heading("What reaches the last token", token + ": weights times what the keys carry, share of all heads' output");
    else
      heading("Where the last token looks", token + ", average of all heads");
    const bool first_named = length_ > 2 && look.keys[0].key == 0;
    if (first_named) {
      out_ += "  " +
              wrapped(fmt::format(report_.value_weighted
                                      ? fmt::runtime("{:.0f} % comes from the first token. Then:")
                                      : fmt::runtime("{:.0f} % rests on the first token, where models put attention "
                                                     "that has nowhere to go. Then:"),
                                  100 * look.mean[0]),
                      terminal_.width, 2, 2) +
              '\n';
    }
    if (terminal_.colour) coloured_text();
    double strongest = 1e-9;
    for (const KeyWeight& k : look.keys) {  // the first and the last itself would leave no colours for the others
      if (k.key != 0 && k.key != last) strongest = std::max(strongest, k.weight);
    }
    for (const KeyWeight& k : look.keys) {
      if (k.key != 0 || !first_named) key_line(k, k.weight / strongest);
    }
    const int64_t others = length_ - static_cast<int64_t>(look.keys.size());
    if (others > 0) {
      out_ +=
          fmt::format("  {:>5.1f} %  and {} other token{}\n", 100 * look.rest, grouped(others), others == 1 ? "" : "s");
    }
    if (look.heads.empty()) return;
    heading("Its sharpest looks back", "single heads, not at the first token or its neighbours");
    for (size_t i = 0; i < std::min<size_t>(look.heads.size(), 5); ++i) {
      const HeadLook& h = look.heads[i];
      const std::string label = fmt::format("  {:>5.1f} %  head {:<6} ", 100 * h.weight, head_name(h.head));
      out_ += label + around(h.key, terminal_.width - columns(label) - 1, h.weight) + '\n';
    }
  }

  void key_line(const KeyWeight& k, double strength) {
    const std::string label = fmt::format("  {:>5.1f} %  token {:<6} ", 100 * k.weight, k.key);
    out_ += label + around(k.key, terminal_.width - columns(label) - 1, strength) + '\n';
  }

  // The last lines of the text, each token on a background by its weight (square root: so that weak ones show too).
  void coloured_text() {
    constexpr int lines_shown = 7;
    const int width = terminal_.width - 4;
    const auto& mean = report_.last.mean;
    double strongest = 0;
    for (int64_t j = 1; j < length_ - 1; ++j) strongest = std::max(strongest, mean[j]);
    std::vector<std::string> lines(1);
    int used = 0;
    for (int64_t j = 0; j < length_; ++j) {
      const std::string text = one_line(o_.token_texts()[j]);
      const int wide = columns(text);
      if (used + wide > width && used > 0) lines.emplace_back(), used = 0;
      const std::string fitting = cut(text, width);
      const double strength = j == 0 || !(strongest > 0) ? 0 : std::sqrt(mean[j] / strongest);
      lines.back() += j == length_ - 1 ? bold(terminal_, fitting) : heat(terminal_, fitting, strength);
      used += std::min(wide, width);
    }
    const size_t first = lines.size() > lines_shown ? lines.size() - lines_shown : 0;
    out_ += '\n';
    for (size_t i = first; i < lines.size(); ++i) out_ += (i == first && first > 0 ? "  …" : "   ") + lines[i] + '\n';
    out_ += "\n   " + dim(terminal_, "less ");
    for (int step = 1; step <= heat_steps; ++step) out_ += heat(terminal_, "  ", (step + 0.5) / (heat_steps + 1));
    out_ += dim(terminal_, " more") + "\n\n";
  }

  const LookReport& report_;
  const Observation& o_;
  const Terminal& terminal_;
  int64_t length_;
  std::string out_;
};

}  // namespace

std::vector<HeadId> heads_of(const HeadRoles& roles, Recipe recipe) {
  const auto score = [&](HeadId id) { return roles.of(id).scores[static_cast<size_t>(recipe)].mean; };
  std::vector<HeadId> heads;
  for (int layer = 0; layer < roles.layers; ++layer)
    for (int head = 0; head < roles.heads; ++head)
      if (score({layer, head}) >= recipe_info(recipe).threshold) heads.push_back({layer, head});
  std::stable_sort(heads.begin(), heads.end(), [&](HeadId a, HeadId b) { return score(a) > score(b); });
  return heads;
}

std::string look_summary(const LookReport& report, const Terminal& terminal) {
  return Summary(report, terminal).text();
}

}  // namespace bareattn::cli
