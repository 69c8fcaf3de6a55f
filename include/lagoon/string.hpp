// string.hpp: a text of at most N bytes that lies where it is declared, in an arena too.
//
//   Shape      a length of 1, 2 or 4 bytes (the smallest that counts to N), then N bytes without
//              terminator; all-zero bytes are the empty text; bytes past the end are zero, so
//              that equal texts of one N have equal bytes
//   Unit       bytes; a character of several bytes counts as several
//   Progress   wait-free; no allocation but for str() and for an error
//   Errors     too_large for a longer text, which leaves the old one; it is never truncated
//   Death      a process killed inside an assignment leaves a mixture of the old and the new text;
//              where that matters, keep the String in a Value or under a Lock
//
// A length that something else has damaged is read as N: it never leads outside.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

#include <lagoon/error.hpp>

namespace lagoon::inline v1 {

template <std::size_t N>
class String;

namespace detail {

/// What a `String<N>` takes: texts of other types, and `String`s of another capacity.
template <class T, std::size_t N>
concept TextFor = !std::is_same_v<T, String<N>> && !std::is_same_v<T, std::nullptr_t> &&
                  std::is_convertible_v<const T&, std::string_view>;

[[noreturn]] inline void throw_text_too_large(std::size_t limit, std::string_view text) {
    constexpr std::size_t shown_bytes = 40;
    const bool all = text.size() <= shown_bytes;
    throw Error{Errc::too_large,
                "a text of " + std::to_string(text.size()) + " bytes does not fit into String<" +
                    std::to_string(limit) + ">, which holds at most " + std::to_string(limit) +
                    ": shorten it or declare a larger String; it " + (all ? "is '" : "begins '") +
                    std::string{text.substr(0, shown_bytes)} + "'"};
}

}  // namespace detail

template <std::size_t N>
class String {
    static_assert(N > 0 && N <= std::numeric_limits<std::uint32_t>::max() / 2,
                  "lagoon: a String holds from 1 byte to 2 GiB");
    using Length =
        std::conditional_t<N <= std::numeric_limits<std::uint8_t>::max(), std::uint8_t,
                           std::conditional_t<N <= std::numeric_limits<std::uint16_t>::max(),
                                              std::uint16_t, std::uint32_t>>;

public:
    using lagoon_arena_safe = void;

    constexpr String() noexcept = default;

    /// A copy of `text`, from anything that is or converts to a std::string_view.
    template <class Text>
    requires detail::TextFor<Text, N>
    constexpr String(const Text& text) {  // not explicit: Cluster{"east"} shall compile
        assign(text);
    }
    String(std::nullptr_t) = delete;

    template <class Text>
    requires detail::TextFor<Text, N>
    constexpr String& operator=(const Text& text) { return assign(text); }

    /// Replaces the text, also by a part of itself.
    constexpr String& assign(std::string_view text) {
        if (text.size() > N) detail::throw_text_too_large(N, text);
        const std::size_t before = size();
        if (std::is_constant_evaluated()) {  // clang 14 cannot run the other one while compiling
            for (std::size_t i = 0; i < text.size(); ++i) text_[i] = text[i];
        } else {
            std::char_traits<char>::move(text_, text.data(), text.size());
        }
        for (std::size_t i = text.size(); i < before; ++i) text_[i] = '\0';
        length_ = static_cast<Length>(text.size());
        return *this;
    }
    constexpr void clear() noexcept {
        for (std::size_t i = 0, before = size(); i < before; ++i) text_[i] = '\0';
        length_ = 0;
    }

    /// The text where it lies: valid as long as this String lives and is not changed.
    [[nodiscard]] constexpr std::string_view view() const noexcept { return {text_, size()}; }
    constexpr operator std::string_view() const noexcept { return view(); }
    [[nodiscard]] std::string str() const { return std::string{view()}; }

    [[nodiscard]] constexpr std::size_t size() const noexcept {
        const std::size_t length = length_;
        return length < N ? length : N;
    }
    [[nodiscard]] constexpr bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] static constexpr std::size_t capacity() noexcept { return N; }

private:
    // Rounded up so that there is no padding, whose bytes would differ between equal texts.
    static constexpr std::size_t stored_bytes =
        (N + sizeof(Length) - 1) / sizeof(Length) * sizeof(Length);

    Length length_ = 0;
    char text_[stored_bytes] = {};
};

/// Bytes are compared as unsigned, as std::string_view does; capacities do not matter.
template <std::size_t N, std::size_t M>
constexpr bool operator==(const String<N>& left, const String<M>& right) noexcept {
    return left.view() == right.view();
}
template <std::size_t N>
constexpr bool operator==(const String<N>& left, std::string_view right) noexcept {
    return left.view() == right;
}
template <std::size_t N, std::size_t M>
constexpr std::strong_ordering operator<=>(const String<N>& left, const String<M>& right) noexcept {
    return left.view() <=> right.view();
}
template <std::size_t N>
constexpr std::strong_ordering operator<=>(const String<N>& left, std::string_view right) noexcept {
    return left.view() <=> right;
}

/// Writes the text as a std::string_view is written: width and fill count.
template <std::size_t N>
std::ostream& operator<<(std::ostream& out, const String<N>& text) {
    return out << text.view();
}

}  // namespace lagoon::inline v1

/// Equal to the hash of the same text as a std::string_view.
template <std::size_t N>
struct std::hash<lagoon::String<N>> {
    [[nodiscard]] std::size_t operator()(const lagoon::String<N>& text) const noexcept {
        return std::hash<std::string_view>{}(text.view());
    }
};
