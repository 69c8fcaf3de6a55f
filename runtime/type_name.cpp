// type_name.cpp: names of user types, from what both compilers agree on: the mangled name.
#include <lagoon/detail/type_name.hpp>

#include <cstdlib>
#include <memory>

#include <cxxabi.h>

namespace lagoon::inline v1::detail {

std::string demangled(const char* mangled) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> spelled{
        abi::__cxa_demangle(mangled, nullptr, nullptr, &status), &std::free};
    if (status != 0 || spelled == nullptr) return mangled;
    std::string text = spelled.get();
    // A type keeps its name when the library's version namespace moves on.
    constexpr std::string_view versioned = "lagoon::v1::";
    constexpr std::string_view plain = "lagoon::";
    for (auto at = text.find(versioned); at != std::string::npos; at = text.find(versioned, at)) {
        const bool whole_word =
            at == 0 || std::string_view{" <(,&*"}.find(text[at - 1]) != std::string_view::npos;
        if (whole_word) text.replace(at, versioned.size(), plain);
        at += plain.size();
    }
    return text;
}

}  // namespace lagoon::inline v1::detail
