// codec_test.cpp: arguments as bytes, and what damaged bytes do.
#include <lagoon/detail/codec.hpp>

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include <lagoon/string.hpp>

using lagoon::Errc;
using lagoon::Error;
using lagoon::detail::decode;
using lagoon::detail::encode;

namespace {

struct Point {
    std::int32_t x = 0;
    double y = 0;  // four bytes of padding before it
    friend bool operator==(const Point&, const Point&) = default;
};

enum class Colour : std::uint16_t { red, green };

/// Not arena-safe, and goes through cereal.
struct Person {
    std::string name;
    std::vector<Point> places;
    std::optional<int> age;
    friend bool operator==(const Person&, const Person&) = default;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(CEREAL_NVP(name), places);
        archive& age;
    }
};

/// Split functions, outside of the class.
struct Split {
    std::string text;
    friend bool operator==(const Split&, const Split&) = default;
};
template <class Archive>
void save(Archive& archive, const Split& split) {
    archive(split.text);
}
template <class Archive>
void load(Archive& archive, Split& split) {
    archive(split.text);
}

struct Empty {
    template <class Archive>
    void serialize(Archive&) {}
    std::string never_sent;
};

template <class T>
T round_trip(const T& value) {
    return std::get<0>(decode<T>(encode(value)));
}

template <class Call>
Errc code_of(Call&& call) {
    try {
        call();
    } catch (const Error& error) {
        return error.errc();
    }
    return Errc{};
}

}  // namespace

TEST_CASE("codec: arena-safe values come back as they were") {
    CHECK(round_trip(42) == 42);
    CHECK(round_trip(true));
    CHECK(round_trip(-1.5) == -1.5);
    CHECK(round_trip(Colour::green) == Colour::green);
    CHECK(round_trip(Point{3, 4.5}) == Point{3, 4.5});
    CHECK(round_trip(std::array<Point, 2>{{{1, 2}, {3, 4}}})[1] == Point{3, 4});
    CHECK(round_trip(std::optional<int>{7}) == 7);
    CHECK(round_trip(lagoon::String<8>{"abc"}) == "abc");
    CHECK(round_trip(std::numeric_limits<std::uint64_t>::max()) ==
          std::numeric_limits<std::uint64_t>::max());
}

TEST_CASE("codec: strings and containers come back as they were") {
    CHECK(round_trip(std::string{"with a \0 inside", 15}).size() == 15);
    CHECK(round_trip(std::string{}).empty());
    CHECK(round_trip(std::vector<int>{1, 2, 3}) == std::vector<int>{1, 2, 3});
    CHECK(round_trip(std::vector<bool>{true, false}) == std::vector<bool>{true, false});
    CHECK(round_trip(std::vector<Point>{{1, 2}}) == std::vector<Point>{{1, 2}});
    CHECK(round_trip(std::vector<std::string>{"a", "", "c"})[2] == "c");
    CHECK(round_trip(std::optional<std::string>{"x"}) == "x");
    CHECK(round_trip(std::optional<std::string>{}) == std::nullopt);
    CHECK(round_trip(std::pair<int, std::string>{1, "one"}).second == "one");
    CHECK(std::get<1>(round_trip(std::tuple<int, std::string, Point>{1, "t", {}})) == "t");
    CHECK(round_trip(std::map<std::string, Point>{{"p", {1, 2}}}).at("p") == Point{1, 2});
    CHECK(round_trip(std::unordered_map<int, std::string>{{5, "five"}}).at(5) == "five");
    CHECK(round_trip(std::set<std::string>{"b", "a"}).contains("a"));
    CHECK(round_trip(std::array<std::string, 2>{"l", "r"})[1] == "r");
    CHECK(std::get<1>(round_trip(std::variant<int, std::string>{"v"})) == "v");
    CHECK(round_trip(std::vector<std::vector<int>>{{1}, {}, {2, 3}})[2][1] == 3);
}

TEST_CASE("codec: a class with cereal's serialize, or save and load, is understood") {
    const Person ada{"Ada", {{1, 2}, {3, 4}}, 36};
    CHECK(round_trip(ada) == ada);
    CHECK(round_trip(std::vector<Person>{ada, {}}) == std::vector<Person>{ada, {}});
    CHECK(round_trip(Split{"s"}) == Split{"s"});
    CHECK(round_trip(std::vector<Empty>(100)).size() == 100);
}

TEST_CASE("codec: several values are read in the order they were written") {
    const auto bytes = encode(1, std::string{"two"}, 3.0, Point{4, 5});
    const auto [a, b, c, d] = decode<int, std::string, double, Point>(bytes);
    CHECK((a == 1 && b == "two" && c == 3.0 && d == Point{4, 5}));
    CHECK_NOTHROW(decode<>(encode()));
}

TEST_CASE("codec: bytes of other types are an error") {
    CHECK(code_of([] { decode<long>(encode(1)); }) == Errc::corrupt);
    CHECK(code_of([] { decode<float>(encode(1)); }) == Errc::corrupt);
    CHECK(code_of([] { decode<int>(encode(1, 2)); }) == Errc::corrupt);
    CHECK(code_of([] { decode<int, int>(encode(1)); }) == Errc::corrupt);
    CHECK(code_of([] { decode<std::vector<int>>(encode(std::string{"x"})); }) == Errc::corrupt);
}

TEST_CASE("codec: every truncation and every flipped bit is an error") {
    using Kind = std::tuple<Person, std::map<std::string, std::vector<int>>, bool, Colour>;
    const Kind value{{"name", {{1, 2}}, 3}, {{"k", {1, 2, 3}}}, true, Colour::green};
    const std::string good = encode(value);
    CHECK_NOTHROW(decode<Kind>(good));
    for (std::size_t length = 0; length < good.size(); ++length) {
        const auto cut = std::string_view{good}.substr(0, length);
        REQUIRE(code_of([&] { decode<Kind>(cut); }) == Errc::corrupt);
    }
    for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
        std::string bad = good;
        bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
        REQUIRE(code_of([&] { decode<Kind>(bad); }) == Errc::corrupt);
    }
    REQUIRE(code_of([&] { decode<Kind>(good + '\0'); }) == Errc::corrupt);
}

TEST_CASE("codec: arbitrary bytes behind a right checksum are an error or a value") {
    using Kind = std::tuple<Person, std::map<std::string, std::vector<int>>,
                            std::variant<int, std::string>, std::vector<bool>>;
    std::mt19937_64 random{7};
    const std::string head = encode(Kind{});
    for (int round = 0; round < 20000; ++round) {
        std::string bytes(16 + random() % 80, '\0');
        for (std::size_t i = 16; i < bytes.size(); ++i) {
            bytes[i] = static_cast<char>(random() % 4 == 0 ? random() : random() % 3);
        }
        std::memcpy(bytes.data(), head.data(), 8);
        const auto sum = lagoon::detail::checksum_of(std::string_view{bytes}.substr(16));
        std::memcpy(bytes.data() + 8, &sum, 8);
        const Errc code = code_of([&] { decode<Kind>(bytes); });
        REQUIRE((code == Errc{} || code == Errc::corrupt));
    }
}

TEST_CASE("codec: a container that claims more elements than bytes is refused before it is made") {
    std::string bytes = encode(std::vector<std::string>{"x"});
    const std::uint64_t count = std::uint64_t{1} << 60;
    std::memcpy(bytes.data() + 16, &count, sizeof count);
    const auto sum = lagoon::detail::checksum_of(std::string_view{bytes}.substr(16));
    std::memcpy(bytes.data() + 8, &sum, 8);
    CHECK(code_of([&] { decode<std::vector<std::string>>(bytes); }) == Errc::corrupt);
}

TEST_CASE("codec: what lies between the fields of a struct does not travel") {
#if __has_builtin(__builtin_clear_padding)
    alignas(Point) unsigned char raw[sizeof(Point)];
    std::memset(raw, 0xff, sizeof raw);
    auto* dirty = ::new (raw) Point;
    dirty->x = 1;
    dirty->y = 2;
    CHECK(encode(*dirty) == encode(Point{1, 2}));
#endif
}
