from benchmarks.machine import processor_name


def test_a_processor_is_named_with_family_and_model() -> None:
    text = "processor : 0\ncpu family : 6\nmodel : 85\nmodel name : Some CPU @ 2 GHz\n\n"
    again = text.replace("85", "86")
    assert processor_name(text + again) == "Some CPU @ 2 GHz (family 6, model 85)"


def test_a_file_without_a_model_name_names_nothing() -> None:
    assert processor_name("processor : 0\nBogoMIPS : 50.00\n") is None
