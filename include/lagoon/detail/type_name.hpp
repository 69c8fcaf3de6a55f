// type_name.hpp: what an element type is made of and what it is called, alike from every compiler.
//
//   Shape      names are text ("unsigned long", "std::array<int, 3>"), shapes a 64-bit hash
//   Progress   for set-up only: names allocate
//   Errors     none; what cannot be taken apart counts as one opaque piece
//
// What a shape does not see: names of fields, the order of fields of one type, widths of
// bit-fields, what an opted-in class holds.
// Derived classes inherit `arena_name` and `lagoon_arena_safe`; each should state its own.
#pragma once

#include <array>
#include <chrono>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <variant>

#include <lagoon/detail/field_types.hpp>

namespace lagoon::inline v1 {

template <std::size_t N>
class String;

namespace detail {

/// Classes of the standard library that hold exactly what their arguments say.
template <class T>
struct StdParts {
    static constexpr bool known = false;
    static constexpr const char* name = nullptr;
    using Parts = TypeList<>;
};
template <class... T>
struct KnownParts {
    static constexpr bool known = true;
    static constexpr const char* name = nullptr;
    using Parts = TypeList<T...>;
};
template <class T>
struct StdParts<std::optional<T>> : KnownParts<T> {
    static constexpr const char* name = "std::optional";
};
template <class... T>
struct StdParts<std::variant<T...>> : KnownParts<T...> {
    static constexpr const char* name = "std::variant";
};
template <class T>
struct StdParts<std::complex<T>> : KnownParts<T> {
    static constexpr const char* name = "std::complex";
};
template <class Rep, class Period>
struct StdParts<std::chrono::duration<Rep, Period>> : KnownParts<Rep> {};
template <class Clock, class Duration>
struct StdParts<std::chrono::time_point<Clock, Duration>> : KnownParts<Duration> {};
template <>
struct StdParts<std::chrono::day> : KnownParts<> {};
template <>
struct StdParts<std::chrono::month> : KnownParts<> {};
template <>
struct StdParts<std::chrono::year> : KnownParts<> {};
template <>
struct StdParts<std::chrono::weekday> : KnownParts<> {};
template <>
struct StdParts<std::chrono::year_month_day> : KnownParts<> {};

template <class T>
struct ArrayParts {
    static constexpr bool known = false;
};
template <class T, std::size_t N>
struct ArrayParts<std::array<T, N>> {
    static constexpr bool known = true;
    static constexpr std::size_t count = N;
    using Element = T;
};
template <class T, std::size_t N>
struct ArrayParts<T[N]> : ArrayParts<std::array<T, N>> {};

template <class T>
constexpr const char* fundamental_name() noexcept {
    const char* name = nullptr;
    const auto is = [&name]<class Other>(std::type_identity<Other>, const char* text) {
        if (std::is_same_v<T, Other>) name = text;
    };
    is(std::type_identity<bool>{}, "bool");
    is(std::type_identity<char>{}, "char");
    is(std::type_identity<signed char>{}, "signed char");
    is(std::type_identity<unsigned char>{}, "unsigned char");
    is(std::type_identity<wchar_t>{}, "wchar_t");
    is(std::type_identity<char8_t>{}, "char8_t");
    is(std::type_identity<char16_t>{}, "char16_t");
    is(std::type_identity<char32_t>{}, "char32_t");
    is(std::type_identity<short>{}, "short");
    is(std::type_identity<unsigned short>{}, "unsigned short");
    is(std::type_identity<int>{}, "int");
    is(std::type_identity<unsigned int>{}, "unsigned int");
    is(std::type_identity<long>{}, "long");
    is(std::type_identity<unsigned long>{}, "unsigned long");
    is(std::type_identity<long long>{}, "long long");
    is(std::type_identity<unsigned long long>{}, "unsigned long long");
    is(std::type_identity<float>{}, "float");
    is(std::type_identity<double>{}, "double");
    is(std::type_identity<long double>{}, "long double");
    return name;
}

/// The C++ spelling of a mangled name, without this library's version namespace.
std::string demangled(const char* mangled);

template <class T>
std::string type_name();

template <class... T>
std::string joined_names(TypeList<T...>) {
    std::string text;
    ((text += (text.empty() ? "" : ", ") + type_name<T>()), ...);
    return text;
}

template <class T>
struct StringCapacity {
    static constexpr std::size_t value = 0;
};
template <std::size_t N>
struct StringCapacity<String<N>> {
    static constexpr std::size_t value = N;
};

/// What `T` is called in directories and messages, without const: `T::arena_name` if it has one.
template <class T>
std::string type_name() {
    using Bare = std::remove_cv_t<T>;
    if constexpr (fundamental_name<Bare>() != nullptr) {
        return fundamental_name<Bare>();
    } else if constexpr (std::is_bounded_array_v<Bare>) {
        std::string text = type_name<std::remove_all_extents_t<Bare>>();
        const auto add = [&text]<std::size_t... Axis>(std::index_sequence<Axis...>) {
            ((text += '[' + std::to_string(std::extent_v<Bare, Axis>) + ']'), ...);
        };
        add(std::make_index_sequence<std::rank_v<Bare>>{});
        return text;
    } else if constexpr (ArrayParts<Bare>::known) {
        return "std::array<" + type_name<typename ArrayParts<Bare>::Element>() + ", " +
               std::to_string(ArrayParts<Bare>::count) + '>';
    } else if constexpr (StringCapacity<Bare>::value != 0) {
        return "lagoon::String<" + std::to_string(StringCapacity<Bare>::value) + '>';
    } else if constexpr (requires { std::string_view{Bare::arena_name}; }) {
        return std::string{std::string_view{Bare::arena_name}};
    } else if constexpr (StdParts<Bare>::name != nullptr) {
        return StdParts<Bare>::name + ('<' + joined_names(typename StdParts<Bare>::Parts{}) + '>');
    } else {
        return demangled(typeid(Bare).name());
    }
}

/// FNV-1a, 64 bits; each text and number is followed by its end, so that none run together.
class ShapeHash {
public:
    void text(std::string_view bytes) noexcept {
        for (const char byte : bytes) mix(static_cast<unsigned char>(byte));
        mix(0);
    }
    void number(std::uint64_t value) noexcept {
        for (int shift = 0; shift < 64; shift += 8) mix((value >> shift) & 0xff);
    }
    [[nodiscard]] std::uint64_t value() const noexcept { return state_; }

private:
    void mix(std::uint64_t byte) noexcept { state_ = (state_ ^ byte) * 0x100000001b3; }

    std::uint64_t state_ = 0xcbf29ce484222325;
};

template <class T>
void add_shape(ShapeHash& hash);

template <class... T>
void add_shapes(ShapeHash& hash, TypeList<T...>) {
    (add_shape<T>(hash), ...);
    hash.text("}");
}
template <class Unlisted>
void add_shapes(ShapeHash& hash, Unlisted) {
    hash.text("?");
}

template <class T>
void add_shape(ShapeHash& hash) {
    using Bare = std::remove_cv_t<T>;
    if constexpr (ArrayParts<Bare>::known) {
        hash.text("[");
        hash.number(ArrayParts<Bare>::count);
        add_shape<typename ArrayParts<Bare>::Element>(hash);
        return;
    } else if constexpr (Walkable<Bare>) {
        hash.text("{");
        add_shapes(hash, fields_of<Bare>());
    } else if constexpr (std::is_enum_v<Bare>) {
        hash.text(type_name<Bare>());
        hash.text(type_name<std::underlying_type_t<Bare>>());
    } else {
        hash.text(type_name<Bare>());
        if constexpr (StdParts<Bare>::known) add_shapes(hash, typename StdParts<Bare>::Parts{});
    }
    hash.number(sizeof(Bare));
    hash.number(alignof(Bare));
}

/// A hash of the types, sizes and alignments of all fields of `T`, nested ones included.
template <class T>
std::uint64_t type_shape() {
    ShapeHash hash;
    add_shape<T>(hash);
    return hash.value();
}

}  // namespace detail
}  // namespace lagoon::inline v1
