#[derive(Default)] pub struct Plan{}
#[derive(Default)] pub struct InForce{items:Vec<String>}
impl InForce{pub fn is_sufficient(&self)->bool{true} pub fn extend(&mut self,o:InForce){self.items.extend(o.items)}}
impl std::fmt::Display for InForce{fn fmt(&self,f:&mut std::fmt::Formatter<'_>)->std::fmt::Result{write!(f,"none")}}
pub fn enter(_:&Plan)->Result<InForce,String>{Ok(InForce::default())}
pub fn seal(_:bool)->Result<InForce,String>{Ok(InForce::default())}
