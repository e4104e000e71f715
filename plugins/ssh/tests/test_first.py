import covalent_core as ct


def test_first(executor):
    @ct.electron(executor=executor)
    def f(x):
        return x + 1

    @ct.lattice
    def flow(x):
        return f(f(x))

    import time; d = ct.dispatch(flow)(1); time.sleep(4); result = ct.get_result(d)
    print(result)
    assert result.result == 3
