#include "text.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>

#include <lagoon/error.hpp>

namespace lagoon::inline v1::tool {

namespace {

/// The code point at the start of `text` and its length in bytes; 0 bytes when it is malformed.
struct Decoded {
    char32_t point = 0;
    std::size_t bytes = 0;
};
Decoded decode(std::string_view text) {
    const auto first = static_cast<unsigned char>(text[0]);
    if (first < 0x80) return {first, 1};
    const std::size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() < bytes) return {};
    char32_t point = first & (0xffU >> (bytes + 1));
    for (std::size_t i = 1; i < bytes; ++i) {
        const auto next = static_cast<unsigned char>(text[i]);
        if ((next & 0xc0) != 0x80) return {};
        point = point << 6 | (next & 0x3fU);
    }
    constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = point >= 0xd800 && point <= 0xdfff;
    if (point < least[bytes] || point > 0x10ffff || surrogate) return {};
    return {point, bytes};
}

/// Characters that are seen as themselves and change nothing about others.
bool is_plain(char32_t point) {
    const auto between = [point](char32_t from, char32_t to) {
        return point >= from && point <= to;
    };
    return between(0x20, 0x7e) ||
           (point >= 0xa0 && point != 0xad && point != 0xfeff && !between(0x200b, 0x200f) &&
            !between(0x2028, 0x202e) && !between(0x2060, 0x206f) && !between(0xe0000, 0xe0fff));
}

/// How many columns the text takes, where every character takes one.
std::size_t width(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    }));
}

}  // namespace

std::string escaped(std::string_view text) {
    std::string safe;
    while (!text.empty()) {
        const Decoded next = decode(text);
        const std::size_t bytes = std::max<std::size_t>(next.bytes, 1);
        if (next.bytes == 1 && next.point == '\\') {
            safe += "\\\\";
        } else if (next.bytes == 1 && next.point == '\n') {
            safe += "\\n";
        } else if (next.bytes == 1 && next.point == '\t') {
            safe += "\\t";
        } else if (next.bytes > 0 && is_plain(next.point)) {
            safe += text.substr(0, bytes);
        } else {
            for (const char byte : text.substr(0, bytes)) {
                std::array<char, 5> code{};
                std::snprintf(code.data(), code.size(), "\\x%02x",
                              static_cast<unsigned char>(byte));
                safe += code.data();
            }
        }
        text.remove_prefix(bytes);
    }
    return safe;
}

std::string time_text(std::uint64_t realtime_ns) {
    const auto seconds = static_cast<std::time_t>(realtime_ns / 1'000'000'000);
    std::tm parts{};
    std::array<char, 64> text{};
    if (::gmtime_r(&seconds, &parts) == nullptr ||
        std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts) == 0) {
        return "unknown";
    }
    return text.data();
}

std::string table(const std::vector<std::vector<std::string>>& rows, std::size_t indent) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
    }
    std::string text;
    for (const auto& row : rows) {
        std::string line(indent, ' ');
        for (std::size_t i = 0; i < row.size(); ++i) {
            line += row[i] + std::string(widths[i] - width(row[i]) + 2, ' ');
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + '\n';
    }
    return text;
}

void print(const std::string& text) {
    errno = 0;
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
        std::fflush(stdout) != 0) {
        throw Error{Errc::system, "cannot write to standard output", errno};
    }
}

void print(const Json& document) {
    print(document.dump(2, ' ', false, Json::error_handler_t::replace) + '\n');
}

void complain(std::string_view text) {
    const std::string line = "lagoon: " + escaped(text) + '\n';
    (void)std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace lagoon::inline v1::tool
