import { usePhone } from "./context";
import { FaultNotice } from "./FaultNotice";

/** What is wrong with the phone as a whole; faults of a call stand on the call screen. */
export function Faults() {
  const screen = usePhone();
  const { fault } = screen.engine.state.value;
  const unexpected = screen.unexpectedFault.value;
  if (!fault && !unexpected) return null;
  return (
    <div class="faults">
      {fault && <FaultNotice fault={fault} onDismiss={() => screen.engine.dismissFault()} />}
      {unexpected && <FaultNotice fault={unexpected} onDismiss={() => (screen.unexpectedFault.value = null)} />}
    </div>
  );
}
