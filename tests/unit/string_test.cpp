// String<N>: a text in place.
#include <catch2/catch.hpp>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iomanip>
#include <memory>
#include <new>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>

#include <lagoon/arena_safe.hpp>
#include <lagoon/error.hpp>
#include <lagoon/string.hpp>

using lagoon::String;

namespace {

struct Cluster {
    String<32> name;
    std::uint64_t jobs_run = 0;
};

template <class Call>
std::string too_large_text(Call&& call) {
    try {
        call();
    } catch (const lagoon::Error& error) {
        return error.errc() == lagoon::Errc::too_large ? error.what() : "another code";
    }
    return "nothing thrown";
}

template <class T>
T from_bytes(const std::array<unsigned char, sizeof(T)>& bytes) {
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

}  // namespace

TEST_CASE("string: it may lie in an arena", "[string]") {
    STATIC_REQUIRE(lagoon::ArenaSafe<String<1>>);
    STATIC_REQUIRE(lagoon::ArenaSafe<Cluster>);
    STATIC_REQUIRE(std::is_trivially_copyable_v<String<32>>);
    STATIC_REQUIRE(std::is_trivially_destructible_v<String<32>>);
    STATIC_REQUIRE(std::is_standard_layout_v<String<32>>);
}

TEST_CASE("string: it has no padding, so equal texts have equal bytes", "[string]") {
    STATIC_REQUIRE(sizeof(String<7>) == 8);
    STATIC_REQUIRE(std::has_unique_object_representations_v<String<7>>);
    STATIC_REQUIRE(std::has_unique_object_representations_v<String<255>>);
    STATIC_REQUIRE(std::has_unique_object_representations_v<String<257>>);
    STATIC_REQUIRE(std::has_unique_object_representations_v<String<70001>>);
    String<20> was_longer = "a much longer text";
    was_longer = "short";
    const String<20> fresh = "short";
    CHECK(std::memcmp(&was_longer, &fresh, sizeof fresh) == 0);
    was_longer.clear();
    const String<20> empty;
    CHECK(std::memcmp(&was_longer, &empty, sizeof empty) == 0);
}

TEST_CASE("string: all-zero bytes are the empty text", "[string]") {
    const auto small = from_bytes<String<5>>({});
    CHECK(small.empty());
    CHECK(small == "");
    CHECK(small == String<5>{});
    CHECK(from_bytes<String<300>>({}).empty());
    CHECK(from_bytes<String<70000>>({}).empty());
}

TEST_CASE("string: it is made from literals, views and strings", "[string]") {
    const String<5> literal = "abc";
    const String<5> view = std::string_view{"abcde"}.substr(1, 3);
    const String<5> text = std::string{"abc"};
    const String<5> other = String<9>{"abc"};
    const String<5> braces{"abc"};
    CHECK(literal.view() == "abc");
    CHECK(view.view() == "bcd");
    CHECK(text.view() == "abc");
    CHECK(other.view() == "abc");
    CHECK(braces.view() == "abc");
    STATIC_REQUIRE(!std::is_constructible_v<String<5>, std::nullptr_t>);
    STATIC_REQUIRE(!std::is_assignable_v<String<5>&, std::nullptr_t>);
    STATIC_REQUIRE(!std::is_constructible_v<String<5>, int>);
}

TEST_CASE("string: it is a field that aggregates initialise", "[string]") {
    const Cluster by_place{"east"};
    const Cluster by_name{.name = "west", .jobs_run = 3};
    CHECK(by_place.name == "east");
    CHECK(by_place.jobs_run == 0);
    CHECK(by_name.name == "west");
    CHECK(Cluster{}.name.empty());
}

TEST_CASE("string: it is assigned from literals, views, strings and other capacities", "[string]") {
    String<5> text = "old";
    text = "abc";
    CHECK(text == "abc");
    text = std::string_view{"de"};
    CHECK(text == "de");
    text = std::string{"fghij"};
    CHECK(text == "fghij");
    text = String<50>{"k"};
    CHECK(text == "k");
    text.assign("lm");
    CHECK(text == "lm");
    text = String<5>{"n"};
    CHECK(text == "n");
    text = {};
    CHECK(text.empty());
}

TEST_CASE("string: it can be assigned a part of itself", "[string]") {
    String<8> text = "abcdefgh";
    text = text.view().substr(2, 5);
    CHECK(text == "cdefg");
    text = text.view();
    CHECK(text == "cdefg");
}

TEST_CASE("string: exactly N bytes fit", "[string]") {
    const String<5> text = "abcde";
    CHECK(text.size() == 5);
    CHECK(text.view() == "abcde");
    CHECK(String<255>{std::string(255, 'x')}.size() == 255);
    CHECK(String<256>{std::string(256, 'x')}.size() == 256);
    const auto large = std::make_unique<String<65536>>(std::string(65536, 'x'));
    CHECK(large->size() == 65536);
}

TEST_CASE("string: zero bytes in a text count and are kept", "[string]") {
    using namespace std::string_view_literals;
    const String<5> text = "a\0b"sv;
    CHECK(text.size() == 3);
    CHECK(text == "a\0b"sv);
    CHECK(text != "a");
}

TEST_CASE("string: a longer text throws too_large with limit and length", "[string]") {
    const std::string told = too_large_text([] { return String<5>{"123456"}; });
    CHECK_THAT(told, Catch::Contains("6 bytes") && Catch::Contains("String<5>") &&
                         Catch::Contains("at most 5") && Catch::Contains("'123456'"));
    CHECK_THAT(too_large_text([] { return String<3>{String<9>{"123456789"}}; }),
               Catch::Contains("9 bytes"));
    const auto long_text = [] { return String<5>{std::string(1000, 'x')}; };
    CHECK(too_large_text(long_text).size() < 300);
}

TEST_CASE("string: a longer text leaves the old one", "[string]") {
    String<5> text = "old";
    CHECK_THROWS_AS(text = "123456", lagoon::Error);
    CHECK(text == "old");
    CHECK_THROWS_AS(text = std::string(300, 'x'), lagoon::Error);
    CHECK(text == "old");
    CHECK_THROWS_AS(text.assign("123456"), lagoon::Error);
    CHECK(text == "old");
}

TEST_CASE("string: it compares with itself, other capacities, views and literals", "[string]") {
    const String<5> abc = "abc";
    const String<9> abd = "abd";
    CHECK(abc == abc);
    CHECK(abc == String<9>{"abc"});
    CHECK(abc != abd);
    CHECK(abc < abd);
    CHECK(abd > abc);
    CHECK(abc == "abc");
    CHECK("abc" == abc);
    CHECK(abc != "ab");
    CHECK(abc < "abd");
    CHECK("ab" < abc);
    CHECK(abc == std::string_view{"abc"});
    CHECK(std::string_view{"abd"} > abc);
    CHECK(abc == std::string{"abc"});
    CHECK(std::string{"abc"} == abc);
    CHECK((abc <=> abd) == std::strong_ordering::less);
    CHECK((abc <=> abc) == std::strong_ordering::equal);
    CHECK((abc <=> "abb") == std::strong_ordering::greater);
}

TEST_CASE("string: bytes are ordered as unsigned", "[string]") {
    CHECK(String<4>{"\x7f"} < String<4>{"\xc3\xa9"});
    CHECK(std::set<String<4>>{"b", "a", "ab"}.begin()->view() == "a");
}

TEST_CASE("string: it streams with width and fill", "[string]") {
    std::ostringstream out;
    const String<5> text = "abc";
    out << text << '|' << std::setw(5) << std::setfill('.') << text;
    CHECK(out.str() == "abc|..abc");
}

TEST_CASE("string: it converts to a view, and to a string on request", "[string]") {
    const String<5> text = "abc";
    const std::string_view view = text;
    CHECK(view == "abc");
    CHECK(static_cast<const void*>(view.data()) > static_cast<const void*>(&text));
    CHECK(text.str() == "abc");
    CHECK(std::string{text} == "abc");
}

TEST_CASE("string: size, empty, capacity and clear", "[string]") {
    String<5> text = "abc";
    CHECK(text.size() == 3);
    CHECK_FALSE(text.empty());
    STATIC_REQUIRE(String<5>::capacity() == 5);
    text.clear();
    CHECK(text.empty());
    CHECK(text == "");
}

TEST_CASE("string: its hash is that of the view", "[string]") {
    CHECK(std::hash<String<5>>{}("abc") == std::hash<std::string_view>{}("abc"));
    std::unordered_set<String<5>> seen{"a", "b", "a"};
    CHECK(seen.size() == 2);
}

TEST_CASE("string: a damaged length never leads outside", "[string]") {
    std::array<unsigned char, sizeof(String<5>)> bytes;
    bytes.fill(0xff);
    auto text = from_bytes<String<5>>(bytes);
    CHECK(text.size() == 5);
    CHECK(text.view().size() == 5);
    CHECK(text.str().size() == 5);
    CHECK_FALSE(text == "abc");
    text = "abc";
    CHECK(text == "abc");
    text = from_bytes<String<5>>(bytes);
    text.clear();
    CHECK(text.empty());

    std::array<unsigned char, sizeof(String<300>)> more;
    more.fill(0xff);
    CHECK(from_bytes<String<300>>(more).size() == 300);
}

TEST_CASE("string: it works in constant expressions", "[string]") {
    constexpr String<5> text = "abc";
    STATIC_REQUIRE(text == "abc");
    STATIC_REQUIRE(text.size() == 3);
}
