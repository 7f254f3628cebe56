// See chat_template.h.
#include "text/chat_template.h"

#include <algorithm>
#include <stdexcept>

#include "bareattn/error.h"
#include "text/quote.h"

namespace bareattn::text {
namespace {

/// Jinja without the white space that means nothing: outside of string literals inside of {% %} and {{ }}, and the text
/// between tags where a "-" trims it. Double-quoted literals become single-quoted ones. As chat templates are
/// read (Jinja's trim_blocks and lstrip_blocks), the line end after a {% %} and the indent before one are no output,
/// nor is one line end at the end of all. Other white space between untrimmed tags is output, and stays.
std::string canonical(std::string_view jinja) {
  std::string out;
  bool in_tag = false;
  size_t line = 0;  // where the line that is read begins in `out`
  for (size_t i = 0; i < jinja.size();) {
    const char c = jinja[i];
    const std::string_view two = jinja.substr(i, 2);
    if (!in_tag && (two == "{%" || two == "{{")) {
      in_tag = true;
      if (two == "{%") {  // what stands before it on its line is an indent, if that is white space
        line = std::min(line, out.size());
        if (out.find_first_not_of(" \t", line) == std::string::npos) out.erase(line);
      }
      i += 2;
      if (i < jinja.size() && jinja[i] == '-') {
        while (!out.empty() && (out.back() == ' ' || out.back() == '\n' || out.back() == '\t')) out.pop_back();
        ++i;
      }
      out += two;
    } else if (in_tag && (two == "%}" || two == "}}" || jinja.substr(i, 3) == "-%}" || jinja.substr(i, 3) == "-}}")) {
      in_tag = false;
      const bool trims = c == '-';
      out += jinja.substr(i + trims, 2);
      i += 2 + trims;
      if (!trims && out.ends_with("%}") && i < jinja.size() && jinja[i] == '\n') {
        ++i;
        line = out.size();
      }
      while (trims && i < jinja.size() && (jinja[i] == ' ' || jinja[i] == '\n' || jinja[i] == '\t')) ++i;
    } else if (in_tag && (c == '\'' || c == '"')) {
      out += '\'';
      for (++i; i < jinja.size() && jinja[i] != c; ++i) {
        if (jinja[i] == '\\' && i + 1 < jinja.size()) out += jinja[i++];
        out += jinja[i];
      }
      out += '\'';
      ++i;
    } else {
      if (!in_tag || (c != ' ' && c != '\n' && c != '\t')) out += c;
      if (!in_tag && c == '\n') line = out.size();
      ++i;
    }
  }
  if (!in_tag && out.ends_with('\n')) out.pop_back();
  return out;
}

/// The text of a Jinja string literal without its quotes; nothing when it has an escape not known here.
std::optional<std::string> unescape(std::string_view literal) {
  std::string out;
  for (size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] != '\\') {
      out += literal[i];
      continue;
    }
    if (++i == literal.size()) return std::nullopt;
    switch (literal[i]) {
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case '\\':
      case '\'':
      case '"':
        out += literal[i];
        break;
      default:
        return std::nullopt;
    }
  }
  return out;
}

// In canonical form, `\n` being a backslash and an n, or a line end, as the file has it.
constexpr std::string_view kLoop = "{%formessageinmessages%}";
constexpr std::string_view kDefaultSystems[] = {
    "{%ifloop.firstandmessages[0]['role']!='system'%}{{'<|im_start|>system\n",
    "{%ifloop.firstandmessages[0].role!='system'%}{{'<|im_start|>system\n",
};
constexpr std::string_view kEndOfDefaultSystem = "<|im_end|>\n'}}{%endif%}";
constexpr std::string_view kMessages[] = {
    "{{'<|im_start|>'+message['role']+'\n'+message['content']+'<|im_end|>'+'\n'}}{%endfor%}",
    "{{'<|im_start|>'+message['role']+'\n'+message['content']+'<|im_end|>\n'}}{%endfor%}",
    "{{'<|im_start|>'+message.role+'\n'+message.content+'<|im_end|>'+'\n'}}{%endfor%}",
    "{{'<|im_start|>'+message.role+'\n'+message.content+'<|im_end|>\n'}}{%endfor%}",
};
constexpr std::string_view kPrompt = "{%ifadd_generation_prompt%}{{'<|im_start|>assistant\n'}}{%endif%}";

bool take(std::string_view& text, std::string_view prefix) {
  if (text.substr(0, prefix.size()) != prefix) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// Written anew: replacing in place would move what is behind every time.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (size_t at = text.find(from); at != std::string_view::npos; at = text.find(from)) {
    out.append(text.substr(0, at)).append(to);
    text.remove_prefix(at + from.size());
  }
  return out.append(text);
}

/// The known forms with a system message of any sensible length; what is longer is none of them.
constexpr size_t longest_known = size_t{1} << 20;

std::optional<ChatmlForm> match_chatml(std::string_view jinja) {
  if (jinja.size() > longest_known) return std::nullopt;
  // A line end in a literal may be written either way; the escape is undone for the comparison only where it cannot be
  // the tail of an escaped backslash.
  if (jinja.find("\\\\n") != std::string_view::npos) return std::nullopt;
  const std::string text = replace_all(canonical(jinja), "\\n", "\n");
  std::string_view rest = text;
  ChatmlForm form;
  if (!take(rest, kLoop)) return std::nullopt;
  if (std::any_of(std::begin(kDefaultSystems), std::end(kDefaultSystems),
                  [&](std::string_view start) { return take(rest, start); })) {
    const size_t end = rest.find(kEndOfDefaultSystem);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view literal = rest.substr(0, end);
    // An unescaped quote would end the literal: then this is not one message but an expression.
    for (size_t i = 0; i < literal.size(); ++i) {
      if (literal[i] == '\\')
        ++i;
      else if (literal[i] == '\'')
        return std::nullopt;
    }
    form.default_system = unescape(literal);
    if (!form.default_system) return std::nullopt;
    rest.remove_prefix(end + kEndOfDefaultSystem.size());
  }
  bool has_messages = false;
  for (const std::string_view messages : kMessages) has_messages = has_messages || take(rest, messages);
  if (!has_messages || !take(rest, kPrompt) || !rest.empty()) return std::nullopt;
  return form;
}

struct Family {
  std::string_view sign, name;
};
constexpr Family kFamilies[] = {
    {"<|start_header_id|>", "Llama 3"},   {"<start_of_turn>", "Gemma"},  {"[INST]", "Llama 2 or Mistral"},
    {"<|channel|>", "Harmony"},           {"<|user|>", "Zephyr or Phi"}, {"<|START_OF_TURN_TOKEN|>", "Command R"},
    {"<|im_start|>", "a chatml variant"},
};

}  // namespace

ChatmlForm recognise_chat_template(std::string_view jinja) {
  if (jinja.empty()) throw InputError("the model has no chat template (tokenizer.chat_template)");
  if (auto form = match_chatml(jinja)) return *form;
  std::string_view name = "an unknown form";
  for (const Family& family : kFamilies) {
    if (jinja.find(family.sign) != std::string_view::npos) {
      name = family.name;
      break;
    }
  }
  throw InputError("the model's chat template is " + std::string(name) +
                   ", not plain chatml, the one applied here; it begins with " + quoted(jinja, 60));
}

std::string apply_chatml(const ChatmlForm& form, std::span<const ChatMessage> messages, bool add_generation_prompt) {
  std::string out;
  const auto add = [&](std::string_view role, std::string_view content) {
    out.append("<|im_start|>").append(role).append("\n").append(content).append("<|im_end|>\n");
  };
  for (size_t i = 0; i < messages.size(); ++i) {
    const auto& [role, content] = messages[i];
    if (role != "system" && role != "user" && role != "assistant") {
      throw std::invalid_argument("messages[" + std::to_string(i) + "].role is " + quoted(role) +
                                  "; roles are system, user and assistant");
    }
    if (i == 0 && role != "system" && form.default_system) add("system", *form.default_system);
    add(role, content);
  }
  if (add_generation_prompt) out += "<|im_start|>assistant\n";
  return out;
}

}  // namespace bareattn::text
